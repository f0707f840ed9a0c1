"""The circuits of one model as a layered graph: inputs below, logits above, an arc for each link.

Arcs of the core circuit bend one way and those of the shortcut the other, so that both can be seen
where they take the same way.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

import plotly.graph_objects as go

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.layout import (
    LEVEL_HEIGHT,
    Link,
    NodeLayout,
    links_of,
    place_nodes,
)
from circuits.compare.figures.style import AGAINST, CARRIES, GREY, LINE, base_figure
from circuits.compare.reading import branch, circuit_contrasts, is_head, listing
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES

MOST_TOGETHER = 200
"""Edges of both circuits up to which both are shown at first; beyond, the legend shows the other.
"""

_FRAME, _LEAST = 150, 400
_MOST_NAMED = 6
"""Nodes side by side up to which each head carries its name."""

_WIDTHS = (0.8, 1.6, 2.8, 4.5)
_DASHES: dict[Contrast, str] = {"core": "solid", "shortcut": "dash"}
_BENDS: dict[Contrast, float] = {"core": 0.05, "shortcut": -0.05}
_STEPS = tuple(i / 8 for i in range(9))


def circuit_figure(result: Mapping[str, object], role: Role) -> go.Figure:
    """Nodes level by level; arcs as wide as their score is large, dashed for the shortcut."""
    stored = branch(result, "models", role, "circuits")
    present = circuit_contrasts(result, role)
    layout = place_nodes(_all_edges(result, role))
    edges: dict[Contrast, list[Json]] = {
        contrast: listing(stored, contrast, "circuit", "edges") for contrast in present
    }
    counts = ", ".join(f"{len(found):,} {contrast}" for contrast, found in edges.items())
    figure = base_figure(
        f"Circuits: {ROLE_NAMES[role]}",
        f"edges drawn: {counts}",
        height=circuit_height(result, role),
        x="head or group within its row",
        y="row",
    )
    crowded = sum(map(len, edges.values())) > MOST_TOGETHER
    touched: set[str] = set()
    for i, (contrast, found) in enumerate(edges.items()):
        unit = str(branch(stored, contrast, "circuit").get("unit", "logits"))
        links = links_of(_scored(found), unit)
        touched |= {name for link in links for name in (link.writer, link.reader)}
        _add_circuit(figure, contrast, links, layout, "legendonly" if crowded and i else True)
    _add_nodes(figure, layout, touched)
    figure.update_xaxes(showgrid=False, zeroline=False, showticklabels=False, ticks="")
    figure.update_yaxes(
        zeroline=False,
        tickvals=list(range(len(layout.levels))),
        ticktext=list(layout.levels),
        range=[-0.6, len(layout.levels) - 0.4],
    )
    return figure


def circuit_height(result: Mapping[str, object], role: Role) -> int:
    """Pixels that the figure takes."""
    n = len(place_nodes(_all_edges(result, role)).levels)
    return _FRAME + max(LEVEL_HEIGHT * n, _LEAST)


def _all_edges(result: Mapping[str, object], role: Role) -> list[str]:
    return cast("list[str]", branch(result, "models", role)["edges"])


def _scored(edges: Sequence[Json]) -> list[tuple[str, float]]:
    return [(str(edge["edge"]), cast(float, edge["score"])) for edge in edges]


def _add_circuit(
    figure: go.Figure,
    contrast: Contrast,
    links: Sequence[Link],
    layout: NodeLayout,
    visible: bool | str,
) -> None:
    """Arcs by sign and width, one entry in the legend for each sign; any of them toggles all."""
    largest = max((abs(link.score) for link in links), default=1.0) or 1.0
    for sign, color, label in ((1, CARRIES, "carries"), (-1, AGAINST, "against")):
        signed = [link for link in links if (link.score >= 0) == (sign > 0)]
        bins = [
            [link for link in signed if _bin(abs(link.score) / largest) == width]
            for width in range(len(_WIDTHS))
        ]
        filled = [width for width, found in enumerate(bins) if found]
        for width in filled:
            _add_arcs(
                figure,
                bins[width],
                layout,
                contrast,
                line={"color": color, "width": _WIDTHS[width], "dash": _DASHES[contrast]},
                name=f"{contrast}, {label}",
                legendgroup=contrast,
                showlegend=width == filled[-1],
                visible=visible,
            )
    _add_hovers(figure, links, layout, contrast, visible)


def _bin(share: float) -> int:
    """Width of a score as a share of the largest, by its root."""
    return min(int(share**0.5 * len(_WIDTHS)), len(_WIDTHS) - 1)


def _add_arcs(
    figure: go.Figure,
    links: Sequence[Link],
    layout: NodeLayout,
    contrast: Contrast,
    **style: object,
) -> None:
    x: list[float | None] = []
    y: list[float | None] = []
    for link in links:
        for across, up in (_on_arc(link, layout, contrast, share) for share in _STEPS):
            x.append(round(across, 4))
            y.append(round(up, 4))
        x.append(None)
        y.append(None)
    figure.add_scatter(x=x, y=y, mode="lines", opacity=0.6, hoverinfo="skip", **style)


def _add_hovers(
    figure: go.Figure,
    links: Sequence[Link],
    layout: NodeLayout,
    contrast: Contrast,
    visible: bool | str,
) -> None:
    """Small dots on the arcs, where the box opens."""
    middles = [_on_arc(link, layout, contrast, 0.5) for link in links]
    figure.add_scatter(
        x=[across for across, _ in middles],
        y=[up for _, up in middles],
        mode="markers",
        name=f"{contrast}, edges",
        legendgroup=contrast,
        showlegend=False,
        visible=visible,
        marker={"size": 5, "color": [CARRIES if k.score >= 0 else AGAINST for k in links]},
        customdata=[[k.writer, k.reader, "<br>".join(k.parts)] for k in links],
        hovertemplate=f"%{{customdata[0]}} to %{{customdata[1]}}, {contrast}"
        "<br>%{customdata[2]}<extra></extra>",
    )


def _on_arc(
    link: Link, layout: NodeLayout, contrast: Contrast, share: float
) -> tuple[float, float]:
    """A point of a link's arc, so much of the way up."""
    (x0, y0), (x1, y1) = layout.places[link.writer], layout.places[link.reader]
    reach = _BENDS[contrast] * min(abs(y1 - y0), 6.0)
    return (
        x0 + share * (x1 - x0) + 4 * share * (1 - share) * reach,
        y0 + share * (y1 - y0),
    )


def _add_nodes(figure: go.Figure, layout: NodeLayout, touched: set[str]) -> None:
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
            text=[node.rpartition(".")[2] if is_head(node) else "" for node in names],
            textposition="middle right",
            textfont={"size": 10},
            customdata=names,
            marker={
                "size": size,
                "symbol": symbol,
                "color": GREY if inside else LINE,
                "line": {"width": 1, "color": LINE},
            },
            hovertemplate="%{customdata}<extra></extra>",
        )
