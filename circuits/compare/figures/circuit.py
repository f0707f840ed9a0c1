"""The circuits of one model as a layered graph: inputs below, logits above, an arc for each edge.

Arcs of the core circuit bend one way and those of the shortcut the other, and q, k and v bend
unequally, so that all can be seen where they take the same way. Every trace of edges carries a row
for each of its edges in `customdata` (see `ROW`), by which the page filters it.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import plotly.graph_objects as go

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.edges import (
    CircuitEdge,
    Part,
    circuit_edges,
    nodes_of,
    owned,
    select_edges,
)
from circuits.compare.figures.layout import LEVEL_HEIGHT, NodeLayout, place_nodes
from circuits.compare.figures.style import AGAINST, CARRIES, GREY, LINE, base_figure
from circuits.compare.reading import branch, circuit_contrasts, is_head
from circuits.compare.wording import ROLE_NAMES

MOST_TOGETHER = 200
"""Edges of both circuits up to which both are shown at first; beyond, the legend shows the other.
"""

_FRAME, _LEAST = 150, 400
_MOST_NAMED = 6
"""Nodes side by side up to which each head carries its name."""

_WIDTHS = (0.8, 1.6, 2.8, 4.5)
_DASHES: dict[Contrast, str] = {"core": "solid", "shortcut": "dash"}
_SIDES: dict[Contrast, int] = {"core": 1, "shortcut": -1}
_BEND, _FLATTER = 0.06, 0.5
_BENDS: dict[Part, float] = {"q": 0.6, "v": 1.4}
_MIDDLES: dict[Part, float] = {"q": 0.42, "v": 0.58}
"""Where on its arc an edge has its dot, if not half-way: dots of q, k and v lie apart."""

_STEPS = tuple(i / 6 for i in range(7))
_MARGIN = 0.08
_SIGNS = ((1, CARRIES, "carries"), (-1, AGAINST, "against"))


def circuit_figure(
    result: Mapping[str, object],
    role: Role,
    *,
    most_edges: int | None = None,
    node: str | None = None,
    parts: Collection[str] | None = None,
    whole_paths: bool = False,
) -> go.Figure:
    """Nodes level by level; arcs as wide as their score is large, dashed for the shortcut.

    The filters are those of `select_edges`. Widths and ranks stay those of the whole circuit.
    """
    everything = circuit_edges(result, role)
    shown = select_edges(
        everything, most_edges=most_edges, node=node, parts=parts, whole_paths=whole_paths
    )
    layout = circuit_layout(result, role)
    figure = base_figure(
        f"Circuits: {ROLE_NAMES[role]}",
        _note(result, role, everything, shown),
        height=circuit_height(result, role),
        x="head or group within its row",
        y="row",
    )
    visible = shown_at_first(shown)
    for contrast in circuit_contrasts(result, role):
        whole = [edge for edge in everything if edge.contrast == contrast]
        largest = max((abs(edge.value) for edge in whole), default=1.0) or 1.0
        edges = [edge for edge in shown if edge.contrast == contrast]
        how = True if contrast in visible else "legendonly"
        add_circuit(figure, edges, layout, largest, how)
    add_nodes(figure, layout, nodes_of(shown))
    _fix_axes(figure, layout)
    return figure


def circuit_layout(result: Mapping[str, object], role: Role) -> NodeLayout:
    """Where all nodes of a model stand."""
    return place_nodes(cast("list[str]", branch(result, "models", role)["edges"]))


def circuit_height(result: Mapping[str, object], role: Role) -> int:
    """Pixels that the figure takes."""
    n = len(circuit_layout(result, role).levels)
    return _FRAME + max(LEVEL_HEIGHT * n, _LEAST)


def shown_at_first(edges: Sequence[CircuitEdge]) -> tuple[Contrast, ...]:
    """The circuits that are not hidden behind the legend: the first alone if both are large."""
    present: tuple[Contrast, ...] = tuple(dict.fromkeys(edge.contrast for edge in edges))
    return present[:1] if len(edges) > MOST_TOGETHER else present


def edge_traces(figure: go.Figure) -> list[int]:
    """The places of the traces that hold edges, in `figure.data`."""
    traces = cast("Sequence[Any]", figure.data)
    return [i for i, trace in enumerate(traces) if trace.meta is not None]


def _note(
    result: Mapping[str, object],
    role: Role,
    everything: Sequence[CircuitEdge],
    shown: Sequence[CircuitEdge],
) -> str:
    def count(edges: Sequence[CircuitEdge], contrast: Contrast) -> int:
        return sum(edge.contrast == contrast for edge in edges)

    counts = ", ".join(
        f"{count(shown, contrast):,} of {count(everything, contrast):,} {contrast}"
        if len(shown) < len(everything)
        else f"{count(everything, contrast):,} {contrast}"
        for contrast in circuit_contrasts(result, role)
    )
    return f"edges: {counts}"


def add_circuit(
    figure: go.Figure,
    edges: Sequence[CircuitEdge],
    layout: NodeLayout,
    largest: float,
    visible: bool | str = True,
    *,
    owner: str = "",
) -> None:
    """Arcs by sign and width, one entry in the legend for each sign; any of them toggles all.

    Args:
        figure: Added to.
        edges: Of one circuit.
        layout: Where its nodes stand.
        largest: The largest |score|, which is the widest.
        visible: As plotly takes it.
        owner: Name of the model, where a figure shows two; see `CircuitEdge.row`.
    """
    named = {str(trace.name) for trace in cast("Sequence[Any]", figure.data)}
    for sign, color, label in _SIGNS:
        signed = [edge for edge in edges if (edge.value >= 0) == (sign > 0)]
        bins = [
            (width, found)
            for width in range(len(_WIDTHS))
            if (found := [edge for edge in signed if _bin(edge.value / largest) == width])
        ]
        for width, found in bins:
            points = list(_arcs(found, layout))
            contrast = found[0].contrast
            name = f"{contrast}, {label}"
            figure.add_scatter(
                x=[x for x, _ in points],
                y=[y for _, y in points],
                mode="lines",
                opacity=0.6,
                hoverinfo="skip",
                line={
                    "color": color,
                    "width": _WIDTHS[width],
                    "dash": _DASHES[contrast],
                    "shape": "spline",
                },
                name=name,
                showlegend=(width, found) == bins[-1] and name not in named,
                customdata=[edge.row(owner) for edge in found],
                meta={"sign": sign},
                legendgroup=contrast,
                visible=visible,
            )
        if signed:
            _add_dots(figure, signed, layout, (color, sign), visible, owner)


def _bin(share: float) -> int:
    """Width of a score as a share of the largest, by its root."""
    return min(int(abs(share) ** 0.5 * len(_WIDTHS)), len(_WIDTHS) - 1)


def _arcs(
    edges: Sequence[CircuitEdge], layout: NodeLayout
) -> Iterator[tuple[float | None, float | None]]:
    """Points of all arcs, a gap behind each."""
    for edge in edges:
        yield from (_on_arc(edge, layout, share) for share in _STEPS)
        yield None, None


def _add_dots(
    figure: go.Figure,
    edges: Sequence[CircuitEdge],
    layout: NodeLayout,
    look: tuple[str, int],
    visible: bool | str,
    owner: str,
) -> None:
    """Small dots on the arcs, where the box opens."""
    middles = [_on_arc(edge, layout, _MIDDLES.get(edge.part, 0.5)) for edge in edges]
    color, sign = look
    figure.add_scatter(
        x=[x for x, _ in middles],
        y=[y for _, y in middles],
        mode="markers",
        name=f"{edges[0].contrast}, edges",
        showlegend=False,
        marker={"size": 5, "color": color},
        customdata=[edge.row(owner) for edge in edges],
        meta={"sign": sign},
        hovertemplate="<b>%{customdata[0]}</b>, %{customdata[1]}<br>%{customdata[7]}"
        "<br>rank %{customdata[5]} of %{customdata[8]}<extra></extra>",
        legendgroup=edges[0].contrast,
        visible=visible,
    )


def _on_arc(edge: CircuitEdge, layout: NodeLayout, share: float) -> tuple[float, float]:
    """A point of an edge's arc, so much of the way up."""
    (x0, y0), (x1, y1) = layout.places[edge.writer], layout.places[edge.reader]
    reach = _SIDES[edge.contrast] * _BEND * _BENDS.get(edge.part, 1.0) * abs(y1 - y0) ** _FLATTER
    across = x0 + share * (x1 - x0) + 4 * share * (1 - share) * reach
    return round(across, 4), round(y0 + share * (y1 - y0), 4)


def add_nodes(
    figure: go.Figure,
    layout: NodeLayout,
    touched: set[str],
    *,
    owner: str = "",
    beside: str = "middle right",
) -> None:
    """Dots for all nodes, large and filled for those that an edge touches.

    Args:
        figure: Added to.
        layout: Where all nodes stand.
        touched: Nodes of a circuit.
        owner: Name of the model, where a figure shows two.
        beside: Where heads carry their names.
    """
    shown = {str(trace.name) for trace in cast("Sequence[Any]", figure.data)}
    across = Counter(up for _, up in layout.places.values())
    named = max(across.values()) <= _MOST_NAMED
    for inside, name, size, symbol in (
        (False, "node outside both", 5, "circle-open"),
        (True, "node in a circuit", 10, "circle"),
    ):
        names = [node for node in layout.places if (node in touched) == inside]
        if not names:
            continue
        figure.add_scatter(
            x=[layout.places[node][0] for node in names],
            y=[layout.places[node][1] for node in names],
            mode="markers+text" if named else "markers",
            name=name,
            text=[f"\u00a0{node.rpartition('.')[2]}" if is_head(node) else "" for node in names],
            textposition=beside,
            textfont={"size": 10},
            cliponaxis=False,
            showlegend=name not in shown,
            customdata=[owned(node, owner) for node in names],
            marker={
                "size": size,
                "symbol": symbol,
                "color": GREY if inside else LINE,
                "line": {"width": 1, "color": LINE},
            },
            hovertemplate="%{customdata}<extra></extra>",
        )


def _fix_axes(figure: go.Figure, layout: NodeLayout) -> None:
    """Ranges that stay when edges are filtered, and no ticks across."""
    traces = cast("Sequence[Any]", figure.data)
    xs = [x for trace in traces for x in cast("Sequence[float | None]", trace.x) if x is not None]
    low, high = min(xs), max(xs)
    room = _MARGIN * max(high - low, 1.0)
    figure.update_xaxes(
        showgrid=False,
        zeroline=False,
        showticklabels=False,
        ticks="",
        range=[low - room, high + room],
    )
    figure.update_yaxes(
        zeroline=False,
        tickvals=list(range(len(layout.levels))),
        ticktext=list(layout.levels),
        range=[-0.6, len(layout.levels) - 0.4],
    )
