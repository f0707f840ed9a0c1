"""Teacher and student cell by cell: confidence when wrong, and agreement."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.figures.style import (
    CELL_COLORS,
    CELL_SYMBOLS,
    GREY,
    PERCENT,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import cells, estimate, n_labels, pair, sample
from circuits.compare.wording import ROLE_NAMES

_SHIFT = {"teacher": -0.12, "student": 0.12}


def confidence_figure(result: Mapping[str, object]) -> go.Figure:
    """Mean confidence in percent of the wrong answers of each cell; no dot where none is wrong."""
    present = cells(result)
    figure = base_figure(
        "Confidence of wrong answers", sample(result), height=340, x="cell", y="confidence (%)"
    )
    for role in pair(result):
        found = [
            estimate(result, "models", role, "groups", cell, "confidence_when_wrong")
            for cell in present
        ]
        figure.add_scatter(
            x=[index + _SHIFT[role] for index in range(len(present))],
            y=[scaled(e, PERCENT) for e in found],
            error_y=error_bar(found, PERCENT),
            mode="markers",
            name=ROLE_NAMES[role],
            marker={"symbol": ROLE_SYMBOLS[role], "size": 11, "color": ROLE_COLORS[role]},
            customdata=_labels(present, found),
            hovertemplate=f"{ROLE_NAMES[role]}, %{{customdata[0]}}: %{{customdata[1]}}"
            "<extra></extra>",
        )
    figure.update_xaxes(
        tickvals=list(range(len(present))),
        ticktext=list(present),
        range=[-0.5, len(present) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(range=[100 // n_labels(result) - 2, 102])
    return figure


def agreement_figure(result: Mapping[str, object]) -> go.Figure:
    """How often student and teacher answer alike, in percent, by cell."""
    present = cells(result)
    figure = base_figure(
        "Agreement with the teacher", sample(result), height=340, x="cell", y="same answer (%)"
    )
    found = [estimate(result, "agreement", cell, "all", "rate") for cell in present]
    figure.add_scatter(
        x=list(present),
        y=[scaled(e, PERCENT) for e in found],
        error_y={**error_bar(found, PERCENT), "color": GREY},
        mode="markers",
        marker={
            "symbol": [CELL_SYMBOLS[cell] for cell in present],
            "size": 12,
            "color": [CELL_COLORS[cell] for cell in present],
        },
        customdata=_labels(present, found),
        hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(showgrid=False, range=[-0.5, len(present) - 0.5])
    figure.update_yaxes(range=[-3, 103])
    return figure


def _labels(names: Sequence[str], found: Sequence[Estimate]) -> list[list[str]]:
    return [[name, hover(e, PERCENT)] for name, e in zip(names, found, strict=True)]
