"""Accuracy on the four cells, one dumbbell a model."""

from collections.abc import Mapping

import plotly.graph_objects as go

from circuits.compare.config import Role
from circuits.compare.figures.style import (
    CELL_COLORS,
    CELL_LABELS,
    CELL_SYMBOLS,
    LINE,
    PERCENT,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import cells, estimate, roles, sample
from circuits.compare.wording import ROLE_NAMES

_OFFSETS = {"A": -0.18, "N": 0.06, "C": -0.06, "L": 0.18}


def accuracy_figure(result: Mapping[str, object]) -> go.Figure:
    """Accuracy in percent on A, N, C and L with 95 % intervals; short is unbiased."""
    present = roles(result)
    figure = base_figure(
        "Accuracy by cell",
        sample(result),
        height=150 + 62 * len(present),
        x="accuracy (%)",
        y="",
    )
    for row, role in enumerate(present):
        _add_span(figure, result, role, row)
    for cell in cells(result):
        found = [estimate(result, "models", role, "groups", cell, "accuracy") for role in present]
        figure.add_scatter(
            x=[scaled(e, PERCENT) for e in found],
            y=[row + _OFFSETS[cell] for row in range(len(present))],
            error_x=error_bar(found, PERCENT),
            mode="markers",
            name=CELL_LABELS[cell],
            marker={"symbol": CELL_SYMBOLS[cell], "size": 11, "color": CELL_COLORS[cell]},
            customdata=[
                [ROLE_NAMES[role], hover(e, PERCENT)]
                for role, e in zip(present, found, strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}}, {cell}: %{{customdata[1]}}<extra></extra>",
        )
    figure.update_xaxes(range=[-3, 103], dtick=20)
    figure.update_yaxes(
        range=[len(present) - 0.5, -0.6],
        showticklabels=False,
        showgrid=False,
        zeroline=False,
        ticks="",
    )
    figure.update_layout(margin={"l": 12})
    return figure


def _add_span(figure: go.Figure, result: Mapping[str, object], role: Role, row: int) -> None:
    values = [
        scaled(estimate(result, "models", role, "groups", cell, "accuracy"), PERCENT)
        for cell in cells(result)
    ]
    known = [value for value in values if value is not None]
    figure.add_scatter(
        x=[min(known, default=None), max(known, default=None)],
        y=[row, row],
        mode="lines",
        line={"color": LINE, "width": 6},
        showlegend=False,
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=0,
        y=row - 0.36,
        text=f"<b>{ROLE_NAMES[role]}</b>",
        showarrow=False,
        xanchor="left",
        font={"size": 12},
    )
