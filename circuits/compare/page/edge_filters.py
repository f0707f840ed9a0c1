"""The controls above drawn circuits and the list of edges; `circuit_filters.js` works them."""

from collections.abc import Iterable, Mapping, Sequence

from circuits.compare.config import Role
from circuits.compare.figures.circuit import circuit_layout, shown_at_first
from circuits.compare.figures.edges import (
    PART_NAMES,
    CircuitEdge,
    circuit_edges,
    nodes_of,
    parts_of,
)
from circuits.compare.page.markup import escape
from circuits.compare.reading import pair
from circuits.compare.wording import ROLE_NAMES

AT_FIRST = 20
"""Edges of each circuit that the drawing of both models shows at first."""


def edge_filters(result: Mapping[str, object], role: Role) -> str:
    """A form whose first state shows what the figure shows; empty where no edge is drawn."""
    edges = circuit_edges(result, role)
    if not edges:
        return ""
    most = max(edge.of for edge in edges)
    return _form(
        f"circuit-{role}",
        f"Filter the circuits of the {ROLE_NAMES[role]}",
        _strength(most, most),
        f"{_circuits(edges)}{_parts(edges)}{_nodes(result, role, edges)}",
    )


def pair_filters(result: Mapping[str, object]) -> str:
    """Which circuits of both models are drawn, and how many of the strongest edges of each."""
    edges = [edge for role in pair(result) for edge in circuit_edges(result, role)]
    most = max(edge.of for edge in edges)
    shown = min(AT_FIRST, most)
    return _form(
        "circuits",
        "Switch the circuits of both models",
        _strength(shown, most),
        _circuits(edges, at_first=tuple(dict.fromkeys(edge.contrast for edge in edges))),
    )


def edge_list(result: Mapping[str, object], role: Role) -> str:
    """The edges that are shown, as a table that fills when it is opened."""
    if not circuit_edges(result, role):
        return ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Edge", "Score", "Rank", "Circuit"))
    return (
        f'<details class="edges" data-edges="circuit-{role}" hidden><summary>The shown edges as a '
        f'list</summary><div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        "<tbody></tbody></table></div></details>"
    )


def _form(name: str, label: str, *controls: str) -> str:
    return (
        f'<form class="filters" data-filters="{name}" autocomplete="off" hidden '
        f'aria-label="{escape(label)}">{"".join(controls)}<button type="reset">Reset</button>'
        '<p class="state" role="status" aria-live="polite"></p></form>'
    )


def _strength(shown: int, most: int) -> str:
    return (
        f'<label class="strength">Strongest edges <input type="range" min="1" max="{most}" '
        f'value="{shown}"><output>{shown:,}</output></label>'
    )


def _circuits(edges: Sequence[CircuitEdge], at_first: Sequence[str] | None = None) -> str:
    present = dict.fromkeys(edge.contrast for edge in edges)
    if len(present) < 2:
        return ""
    on = shown_at_first(edges) if at_first is None else at_first
    boxes = (_box("circuit", name, name, on=name in on) for name in present)
    return _fieldset("Circuit", boxes)


def _parts(edges: Sequence[CircuitEdge]) -> str:
    boxes = (_box("part", part, PART_NAMES[part], on=True) for part in parts_of(edges))
    return _fieldset("Read as", boxes)


def _nodes(result: Mapping[str, object], role: Role, edges: Sequence[CircuitEdge]) -> str:
    """Every node that an edge touches, from the inputs up."""
    touched = nodes_of(edges)
    options = "".join(
        f"<option>{escape(node)}</option>"
        for node in circuit_layout(result, role).places
        if node in touched
    )
    return (
        f'<label>Node <select name="node"><option value="">all</option>{options}</select></label>'
        f"{_box('paths', 'paths', 'with all up- and downstream', on=False)}"
    )


def _fieldset(legend: str, boxes: Iterable[str]) -> str:
    return f"<fieldset><legend>{legend}</legend>{''.join(boxes)}</fieldset>"


def _box(name: str, value: str, label: str, *, on: bool) -> str:
    checked = " checked" if on else ""
    return (
        f'<label><input type="checkbox" name="{name}" value="{escape(value)}"{checked}>'
        f"{escape(label)}</label>"
    )
