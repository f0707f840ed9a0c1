"""The circuits of both models in one drawing: teacher left, student right, both equally tall.

Arcs are those of the single drawings. Where heads are matched a ribbon joins each head of the
teacher to its partner in the student, as wide as they are similar.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import plotly.graph_objects as go

from circuits.compare.config import Role
from circuits.compare.figures.circuit import add_circuit, add_nodes, circuit_layout
from circuits.compare.figures.edges import circuit_edges, nodes_of
from circuits.compare.figures.layout import LEVEL_HEIGHT, NodeLayout
from circuits.compare.figures.style import GREY, base_figure
from circuits.compare.reading import circuit_contrasts, listing, matched, pair
from circuits.compare.wording import ROLE_NAMES

RIBBON = "rgba(0,158,115,0.32)"
RIBBONS = "matched heads"

_FRAME, _LEAST = 160, 420
_CENTRES: dict[Role, float] = {"teacher": -1.0, "student": 1.0}
_HALF = 0.72
"""Half of the width that a model takes, where half of the whole is 2."""
_WIDEST = 9.0
_STEPS = tuple(i / 8 for i in range(9))


def both_circuits_figure(result: Mapping[str, object]) -> go.Figure:
    """Every stored edge of both circuits of both models, and ribbons for matched heads."""
    layouts = _layouts(result)
    figure = base_figure(
        "The circuits of both models",
        "teacher left, student right",
        height=both_circuits_height(result),
        x="head or group within its row",
        y="row of the teacher",
    )
    _add_ribbons(figure, result, layouts)
    for role, layout in layouts.items():
        edges = circuit_edges(result, role)
        for contrast in circuit_contrasts(result, role):
            own = [edge for edge in edges if edge.contrast == contrast]
            largest = max((abs(edge.value) for edge in own), default=1.0) or 1.0
            add_circuit(figure, own, layout, largest, owner=ROLE_NAMES[role])
        add_nodes(figure, layout, nodes_of(edges), owner=ROLE_NAMES[role], beside="top center")
    _fix_axes(figure, layouts)
    figure.update_layout(margin={"r": 54})
    return figure


def both_circuits_height(result: Mapping[str, object]) -> int:
    """Pixels that the figure takes."""
    n = max(len(layout.levels) for layout in _layouts(result).values())
    return _FRAME + max(LEVEL_HEIGHT * n, _LEAST)


def has_both_circuits(result: Mapping[str, object]) -> bool:
    """Whether edges of teacher and student are stored."""
    roles = pair(result)
    return len(roles) == 2 and all(circuit_edges(result, role) for role in roles)


def ribbons(result: Mapping[str, object]) -> list[tuple[str, str, float]]:
    """Matched heads that both drawings hold, with their similarity; none where none is matched."""
    if not matched(result):
        return []
    places = {role: circuit_layout(result, role).places for role in pair(result)}
    return [
        (str(link["teacher"]), str(link["student"]), cast(float, link["similarity"]))
        for link in listing(result, "alignment", "links")
        if all(link[role] in places[role] for role in places)
    ]


def _layouts(result: Mapping[str, object]) -> dict[Role, NodeLayout]:
    """Each model in its half; both reach from the lowest level to the highest."""
    own: dict[Role, NodeLayout] = {role: circuit_layout(result, role) for role in pair(result)}
    tallest = max(len(layout.levels) for layout in own.values()) - 1
    return {
        role: NodeLayout(
            {
                name: (
                    _CENTRES[role] + _HALF * x,
                    y * tallest / max(len(layout.levels) - 1, 1),
                )
                for name, (x, y) in layout.places.items()
            },
            layout.levels,
        )
        for role, layout in own.items()
    }


def _add_ribbons(
    figure: go.Figure, result: Mapping[str, object], layouts: Mapping[Role, NodeLayout]
) -> None:
    for number, (teacher, student, similarity) in enumerate(ribbons(result)):
        start, end = layouts["teacher"].places[teacher], layouts["student"].places[student]
        points = [_between(start, end, share) for share in _STEPS]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            name=RIBBONS,
            legendgroup=RIBBONS,
            showlegend=number == 0,
            line={"color": RIBBON, "width": max(1.0, _WIDEST * similarity), "shape": "spline"},
            marker={"symbol": "square"},
            customdata=[f"{teacher} \u2013 {student}: similarity {similarity:.2f}"] * len(points),
            hovertemplate="%{customdata}<extra></extra>",
        )


def _between(
    start: tuple[float, float], end: tuple[float, float], share: float
) -> tuple[float, float]:
    """A point of a ribbon: level at both ends."""
    smooth = share * share * (3 - 2 * share)
    return (
        round(start[0] + share * (end[0] - start[0]), 4),
        round(start[1] + smooth * (end[1] - start[1]), 4),
    )


def _fix_axes(figure: go.Figure, layouts: Mapping[Role, NodeLayout]) -> None:
    """Levels of the teacher on the axis, those of the student at the right edge."""
    top = max(y for layout in layouts.values() for _, y in layout.places.values())
    for role, layout in layouts.items():
        figure.add_annotation(
            text=f"<b>{ROLE_NAMES[role]}</b>",
            x=_CENTRES[role],
            y=top,
            yshift=26,
            showarrow=False,
            font={"size": 13},
        )
        if role == "student":
            _name_levels(figure, layout)
    traces = cast("Sequence[Any]", figure.data)
    xs = [x for trace in traces for x in cast("Sequence[float | None]", trace.x) if x is not None]
    figure.update_xaxes(
        showgrid=False,
        zeroline=False,
        showticklabels=False,
        ticks="",
        range=[min(-1.9, *xs), max(1.9, *xs) + 0.1],
    )
    teacher = layouts["teacher"].levels
    figure.update_yaxes(
        zeroline=False,
        showgrid=False,
        tickvals=[top * i / max(len(teacher) - 1, 1) for i in range(len(teacher))],
        ticktext=list(teacher),
        range=[-0.06 * top - 0.1, 1.1 * top + 0.1],
    )


def _name_levels(figure: go.Figure, layout: NodeLayout) -> None:
    heights = sorted({y for _, y in layout.places.values()})
    for name, y in zip(layout.levels, heights, strict=True):
        figure.add_annotation(
            text=name,
            x=1,
            xref="paper",
            xanchor="left",
            xshift=4,
            y=y,
            showarrow=False,
            font={"size": 11, "color": GREY},
        )
