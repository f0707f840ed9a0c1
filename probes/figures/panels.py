"""Several panels with one legend, and curves by relative depth, in the shared look."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from behavior.estimates import Estimate
from probes.figures.style import Dash, error_bar, hover, scaled, set_look, style_axes

Place = tuple[int, int]


def panels(
    titles: Sequence[str],
    n_columns: int,
    *,
    title: str,
    note: str,
    height: int = 300,
    square: bool = False,
    gap: float = 0.1,
) -> go.Figure:
    """Empty panels, row by row, under one title.

    Args:
        titles: Of the panels.
        n_columns: Panels in a row.
        title: Of the figure.
        note: Below it: unit and n.
        height: Of a row, in pixels.
        square: Whether the panels show images.
        gap: Between columns, as a share of the width.
    """
    n_rows = -(-len(titles) // n_columns)
    whole = height * n_rows + 150
    figure = make_subplots(
        n_rows,
        n_columns,
        subplot_titles=list(titles),
        horizontal_spacing=gap,
        vertical_spacing=0.0 if n_rows == 1 else min(90 / whole, 1 / (n_rows - 1)),
    )
    _lay_out(figure, title, note, whole)
    figure.update_annotations(font={"size": 13})
    style_axes(figure)
    if square:
        _make_square(figure, len(titles))
    return figure


def place_of(number: int, n_columns: int) -> Place:
    """Row and column of a panel, from 1."""
    return number // n_columns + 1, number % n_columns + 1


def add_curve(
    figure: go.Figure,
    place: Place,
    points: Sequence[tuple[str, float]],
    found: Sequence[Estimate],
    *,
    name: str,
    color: str,
    symbol: str,
    scale: float = 1.0,
    dash: Dash = "solid",
    digits: int = 2,
) -> None:
    """Estimates with their intervals, by relative depth; a name enters the legend once."""
    known = {trace.name for trace in figure.data}  # pyright: ignore[reportAttributeAccessIssue]
    style: dict[str, Any] = {
        "line": {"color": color, "dash": dash, "width": 2},
        "marker": {"symbol": symbol, "size": 8, "color": color},
    }
    figure.add_scatter(
        x=[depth for _, depth in points],
        y=[scaled(each, scale) for each in found],
        error_y=error_bar(list(found), scale),
        mode="lines+markers",
        name=name,
        legendgroup=name,
        showlegend=name not in known,
        customdata=[
            [stage, hover(each, scale, digits)]
            for (stage, _), each in zip(points, found, strict=True)
        ],
        hovertemplate=f"{name} %{{customdata[0]}}: %{{customdata[1]}}<extra></extra>",
        row=place[0],
        col=place[1],
        **style,
    )


def by_depth(figure: go.Figure, n_rows: int, y: str) -> None:
    """Axes of curves by relative depth."""
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.25)
    figure.update_xaxes(title="relative depth of the stage", row=n_rows)
    figure.update_yaxes(title=y, col=1)


def _lay_out(figure: go.Figure, title: str, note: str, whole: int) -> None:
    set_look(figure, title, note, y=1, yref="container", yanchor="top", pad={"l": 8, "t": 12})
    figure.update_layout(
        height=whole,
        margin={"l": 62, "r": 16, "t": 96, "b": 70},
        legend={"orientation": "h", "x": 0, "y": -60 / (whole - 166), "yanchor": "top"},
    )


def _make_square(figure: go.Figure, n: int) -> None:
    """Panels of images: no axes, pixels as high as wide, the first row on top."""
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed")
    for number in range(1, n + 1):
        name = "" if number == 1 else str(number)
        axis = {"scaleanchor": f"x{name}", "constrain": "domain"}
        figure.update_layout({f"yaxis{name}": axis, f"xaxis{name}": {"constrain": "domain"}})
