"""Margin by depth: what the classifier makes of the state of every stage, cell by cell."""

from collections.abc import Mapping

import plotly.graph_objects as go

from behavior.examples import CELLS, Cell
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    CELL_COLORS,
    CELL_LABELS,
    CELL_SYMBOLS,
    LINE,
    Dash,
    base_figure,
    error_bar,
    hover,
)
from circuits.compare.reading import estimate, listing, pair
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES

_DASHES: dict[Cell, Dash] = {"A": "dash", "N": "solid", "C": "solid", "L": "dash"}
_ROOM = 0.08


def margins_figure(result: Mapping[str, object], role: Role) -> go.Figure:
    """Mean margin of each cell at each stage, in logits; both models on one scale."""
    rows = margin_stages(result, role)
    n = max((estimate(row, "N").n for row in rows), default=0)
    figure = base_figure(
        f"Margin by depth: {ROLE_NAMES[role]}",
        f"its own classifier on every stage; n = {n:,} quads",
        height=380,
        x="relative depth of the stage",
        y="margin (logits)",
    )
    figure.add_hline(y=0, line={"color": LINE, "width": 1.5, "dash": "dash"})
    for cell in CELLS:
        _add_cell(figure, rows, cell)
    low, high = _limits(result)
    room = _ROOM * max(high - low, 1.0)
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.25)
    figure.update_yaxes(range=[low - room, high + room])
    return figure


def margin_stages(result: Mapping[str, object], role: str) -> list[Json]:
    """The stages of a model that its classifier can read, in order."""
    return [
        row
        for row in listing(result, "margins")
        if row.get("model") == role and any(estimate(row, cell).value is not None for cell in CELLS)
    ]


def margin_roles(result: Mapping[str, object]) -> tuple[Role, ...]:
    """Teacher and student, where their margins were taken at more than the last stage."""
    return tuple(role for role in pair(result) if len(margin_stages(result, role)) > 1)


def _limits(result: Mapping[str, object]) -> tuple[float, float]:
    values = [
        value
        for role in pair(result)
        for row in margin_stages(result, role)
        for cell in CELLS
        if (value := estimate(row, cell).value) is not None
    ]
    return min(values, default=-1.0), max(values, default=1.0)


def _add_cell(figure: go.Figure, rows: list[Json], cell: Cell) -> None:
    found = [estimate(row, cell) for row in rows]
    figure.add_scatter(
        x=[row["depth"] for row in rows],
        y=[each.value for each in found],
        error_y=error_bar(found),
        mode="lines+markers",
        name=CELL_LABELS[cell],
        line={"color": CELL_COLORS[cell], "dash": _DASHES[cell], "width": 2},
        marker={"symbol": CELL_SYMBOLS[cell], "size": 9, "color": CELL_COLORS[cell]},
        customdata=[
            [row["stage"], hover(each, digits=2)] for row, each in zip(rows, found, strict=True)
        ],
        hovertemplate=f"{cell} at %{{customdata[0]}}: %{{customdata[1]}}<extra></extra>",
    )
