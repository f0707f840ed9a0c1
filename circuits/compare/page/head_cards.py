"""All that is known of each head and MLP, as one card; `head_panel.js` shows it beside the maps.

1. Its effects, and its place among the heads of its model.
2. Its strongest edges in the recovered circuits.
3. Its counterpart, or why heads cannot be matched.
4. The failing examples on which it is among the strongest, and where it looks there.
5. What probes read from the stream before and after its layer.

Without scripts the cards are a list that unfolds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.edges import PART_NAMES, CircuitEdge, circuit_edges
from circuits.compare.figures.readability import QUESTIONS
from circuits.compare.page.head_examples import head_examples
from circuits.compare.page.markup import cell_table, escape, known, number_cell, paragraph, prose
from circuits.compare.reading import (
    Panel,
    branch,
    contrasts,
    estimate,
    groups,
    heads_of,
    is_head,
    listing,
    matched,
    pair,
    panels,
    sample,
    stored_nodes,
    text,
)
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, interval, number
from patching.heatmap import node_grid

Result = Mapping[str, object]

MOST_EDGES = 3
"""In each direction, of each circuit."""


@dataclass(frozen=True)
class _Model:
    """What the cards of one model are made of.

    Attributes:
        result: A stored result.
        role: Teacher or student.
    """

    result: Result
    role: Role

    @cached_property
    def nodes(self) -> dict[Panel, Json]:
        return {
            each: stored_nodes(self.result, self.role, each)
            for each in panels(self.result, self.role)
        }

    @cached_property
    def edges(self) -> list[CircuitEdge]:
        return circuit_edges(self.result, self.role)

    @cached_property
    def stages(self) -> list[Json]:
        return [row for row in listing(self.result, "stages") if row.get("model") == self.role]

    @cached_property
    def places(self) -> dict[Panel, dict[str, int]]:
        """From 1, by size among the heads."""
        found: dict[Panel, dict[str, int]] = {}
        for panel, stored in self.nodes.items():
            size = {name: _size(stored, name) for name in stored if is_head(name)}
            order = sorted(size, key=lambda name: -size[name])
            found[panel] = {name: place for place, name in enumerate(order, start=1)}
        return found


def head_cards(result: Result) -> str:
    """The list of cards, and the panel that shows one; empty without maps."""
    models = [_Model(result, role) for role in pair(result) if panels(result, role)]
    if not models:
        return ""
    lists = "".join(
        f"<h3>{ROLE_NAMES[model.role]}</h3>"
        + "".join(_card(model, node) for node in node_grid(next(iter(model.nodes.values()))).places)
        for model in models
    )
    kinds = " and ".join(dict.fromkeys(heads_of(result, model.role) for model in models))
    return (
        '<p class="state" id="pointed" role="status" aria-live="polite"></p>'
        f'<details class="cards"><summary>All {kinds} and MLPs, one by one</summary>{lists}'
        '</details><dialog id="panel" aria-labelledby="panel-title"><div class="inside">'
        '<div class="top"><h2 id="panel-title"></h2><form method="dialog"><button>Close</button>'
        '</form></div><div class="shown"></div></div></dialog>'
    )


def card_id(role: str, node: str) -> str:
    """Of the card of a node in the page."""
    return f"card-{role}-{node}"


def _card(model: _Model, node: str) -> str:
    name = f"{ROLE_NAMES[model.role]}, {node}"
    said = "; ".join(
        f"{panel} {number(_main(model, panel, stored, node))}"
        for panel, stored in model.nodes.items()
    )
    parts = (
        _effects(model, node),
        _edges(model, node),
        _counterpart(model, node),
        _seen(model, node),
        _read(model, node),
    )
    return (
        f'<details class="card" id="{escape(card_id(model.role, node))}" '
        f'data-name="{escape(name)}">'
        f"<summary><b>{escape(node)}</b> {prose(said)}</summary>"
        f'<div class="body">{"".join(parts)}</div></details>'
    )


def _main(model: _Model, panel: Panel, stored: Json, node: str) -> float | None:
    """Share of the own range, or logits where there is none."""
    share = estimate(stored, node).value
    if share is not None or panel in groups(model.result, model.role):
        return share
    return estimate(stored, node, "logits").value


def _size(stored: Json, node: str) -> float:
    found = estimate(stored, node, "logits")
    return abs(found.value or estimate(stored, node).value or 0.0)


def _effects(model: _Model, node: str) -> str:
    rows: list[Sequence[str]] = []
    for panel, stored in model.nodes.items():
        ablated = panel in groups(model.result, model.role)
        logits = estimate(stored, node) if ablated else estimate(stored, node, "logits")
        place = model.places[panel].get(node)
        rows.append(
            (
                panel,
                *(() if ablated else (number_cell(estimate(stored, node), 3),)),
                number_cell(logits),
                escape(number(cast("float | None", branch(stored, node).get("q")), 3)),
                f"{place} of {len(model.places[panel])}" if place else "-",
            )
        )
    ablated = bool(groups(model.result, model.role))
    heads = (
        "examples" if ablated else "contrast",
        *(() if ablated else ("share of own range",)),
        *("logits", "q", "place"),
    )
    what = "Effect of its ablation" if ablated else f"Effects, {sample(model.result)}"
    return cell_table(f"{what}; 95 % intervals. Place: by size among the heads.", heads, rows)


def _edges(model: _Model, node: str) -> str:
    if groups(model.result, model.role):
        return ""
    lines = "".join(_edges_of(model, node, each) for each in contrasts(model.result, model.role))
    return f"<h4>Its strongest edges in the recovered circuits</h4><ul>{lines}</ul>"


def _edges_of(model: _Model, node: str, contrast: Contrast) -> str:
    own = [edge for edge in model.edges if edge.contrast == contrast]
    if not own:
        stored = branch(model.result, "models", model.role, "circuits", contrast)
        untested = text(stored, "circuit", "faithfulness", "reason")
        reason = str(stored.get("reason") or untested or "none was sought")
        return f"<li><b>{contrast}</b>: no circuit ({escape(reason)})</li>"
    own.sort(key=lambda edge: edge.rank)
    into = [edge for edge in own if edge.reader == node][:MOST_EDGES]
    out = [edge for edge in own if edge.writer == node][:MOST_EDGES]
    if not into and not out:
        return f"<li><b>{contrast}</b>: none of the {len(own)} edges</li>"
    return "".join(
        f"<li><b>{contrast}, {way}</b>: {'; '.join(_edge(edge, way) for edge in edges)}</li>"
        for way, edges in (("in", into), ("out", out))
        if edges
    )


def _edge(edge: CircuitEdge, way: str) -> str:
    other = edge.writer if way == "in" else edge.reader
    preposition = "from" if way == "in" else "to"
    part = f" as {PART_NAMES[edge.part]}" if edge.part in ("q", "k", "v") else ""
    return (
        f"{preposition} {escape(other)}{part} {prose(interval(edge.score))} {escape(edge.unit)} "
        f"({edge.rank} of {edge.of})"
    )


def _counterpart(model: _Model, node: str) -> str:
    title = f"<h4>Its counterpart in the {_other(model.role)}</h4>"
    if not matched(model.result):
        reason = text(model.result, "alignment", "reason") or "Heads were not compared."
        short = reason.partition(":")[0].rstrip(".")
        return title + paragraph(f"{short}; why is said above the maps.")
    links = [
        each for each in listing(model.result, "alignment", "links") if _has(model, each, node)
    ]
    changes = [each for each in listing(model.result, "diff", "nodes") if _has(model, each, node)]
    if not links and not changes:
        return title + paragraph("It was not matched.")
    lines = "".join(_link(model, each) for each in links) + "".join(map(_change, changes))
    return f"{title}<ul>{lines}</ul>"


def _has(model: _Model, stored: Json, node: str) -> bool:
    """Whether a link, or a comparison of nodes, is about this one."""
    own = stored.get(model.role)
    return node in cast("list[str]", own) if isinstance(own, list) else node == own


def _link(model: _Model, link: Json) -> str:
    other = _other(model.role)
    place = card_id(other, str(link[other]))
    relation = "one to one" if link["relation"] == "one" else link["relation"]
    return (
        f'<li><a href="#{escape(place)}">{escape(link[other])}</a>, similarity '
        f"{prose(number(cast(float, link['similarity'])))}, {escape(relation)}</li>"
    )


def _change(node: Json) -> str:
    names = " and ".join(
        " + ".join(cast("list[str]", node[role])) or "none" for role in ("teacher", "student")
    )
    return (
        f"<li>{escape(names)}, {escape(node['contrast'])}: <b>{escape(node['category'])}</b>, "
        f"change {known(estimate(node, 'difference'))}, q "
        f"{escape(number(cast('float | None', node['q']), 3))}</li>"
    )


def _other(role: Role) -> Role:
    return "student" if role == "teacher" else "teacher"


def _seen(model: _Model, node: str) -> str:
    found = head_examples(model.result, model.role, node) if is_head(node) else ""
    return f"<h4>On the failing examples below</h4>{found}" if found else ""


def _read(model: _Model, node: str) -> str:
    """What probes read from the stream before and after the node's layer."""
    stage = node.rpartition(".")[0] if is_head(node) else node
    at = next((i for i, row in enumerate(model.stages) if row["stage"] == stage), None)
    if at is None or not any(question in model.stages[at] for question in QUESTIONS):
        return ""
    before, after = model.stages[max(at - 1, 0)], model.stages[at]
    rows = [
        (escape(words), *(number_cell(estimate(row, name)) for row in (before, after)))
        for name, words in QUESTIONS.items()
    ]
    return "<h4>What can be read at its layer</h4>" + cell_table(
        "Held-out accuracy of weak linear probes, 0.5 is chance.",
        ("feature", f"before ({before['stage']})", f"after ({after['stage']})"),
        rows,
    )
