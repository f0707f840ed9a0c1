"""The result as a figure: a panel for each set, edge AP of each algorithm with its interval."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.subplots import make_subplots

from behavior.errors import ResultError
from behavior.estimates import Estimate
from circuits.compare.figures.style import FONT, GREY, INK, error_bar, hover, style_axes

METRIC = "edge_ap"

GOALS: Mapping[str, float] = {"even": 0.99, "cancelling": 0.95, "hard": 0.9}
"""Edge AP that the best algorithm should reach, where a goal was set."""

_ROW, _PANEL, _FRAME = 24, 90, 90
_COLOR, _CHANCE = "#0072B2", "random"

Summary = Mapping[str, Mapping[str, Mapping[str, Estimate]]]


def validation_figure(summary: Summary) -> go.Figure:
    """Edge AP by set and algorithm, the first algorithm on top; a dashed line at each goal."""
    counts = {kind: max(m[METRIC].n for m in found.values()) for kind, found in summary.items()}
    figure = make_subplots(
        rows=len(summary),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.28 / max(len(summary), 2),
        subplot_titles=[_title(kind, n) for kind, n in counts.items()],
    )
    for i, (kind, methods) in enumerate(summary.items(), start=1):
        found = {method: metrics[METRIC] for method, metrics in methods.items()}
        _add_methods(figure, found, i)
        if kind in GOALS:
            place: Any = {"row": i, "col": 1}
            figure.add_vline(x=GOALS[kind], line={"dash": "dash", "color": GREY}, **place)
    _style(figure, summary)
    return figure


def write_figure(path: Path, summary: Summary) -> str | None:
    """Write the figure by the ending of the file; a remark if it could not be drawn.

    Raises:
        ResultError: If the file cannot be written.
    """
    figure = validation_figure(summary)
    try:
        if path.suffix == ".html":
            figure.write_html(path, include_plotlyjs=True)
        else:
            plotly.io.write_image(figure, path, scale=2)
    except OSError as error:
        raise ResultError(f"{path} cannot be written: {error.strerror}.") from error
    except Exception as error:
        if "Chrome" not in str(error):
            raise
        return (
            f"{path} was not drawn: no Chrome or Chromium was found. Install one (apt-get install "
            "chromium, or run plotly_get_chrome), or give a file that ends in .html."
        )
    return None


def _title(kind: str, n: int) -> str:
    goal = f", goal {GOALS[kind]:g}" if kind in GOALS else ""
    return f"{kind}: edge AP (n = {n:,} plant{'' if n == 1 else 's'}{goal})"


def _add_methods(figure: go.Figure, found: Mapping[str, Estimate], place: int) -> None:
    known = {method: each for method, each in found.items() if each.value is not None}
    estimates = list(known.values())
    figure.add_scatter(
        x=[each.value for each in estimates],
        y=list(known),
        mode="markers",
        error_x=error_bar(estimates),
        marker={
            "size": 9,
            "color": [GREY if method == _CHANCE else _COLOR for method in known],
            "symbol": ["circle-open" if method == _CHANCE else "circle" for method in known],
        },
        customdata=[hover(each, digits=3) for each in estimates],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
        showlegend=False,
        row=place,
        col=1,
    )


def _style(figure: go.Figure, summary: Summary) -> None:
    n_rows = max(map(len, summary.values()))
    names = list(dict.fromkeys(method for found in summary.values() for method in found))
    figure.update_layout(
        template="none",
        title={"text": "Planted edges found, by algorithm", "x": 0, "pad": {"l": 8}},
        font={"family": FONT, "size": 13, "color": INK},
        height=_FRAME + len(summary) * (_PANEL + _ROW * n_rows),
        width=760,
        margin={"l": 20, "r": 20, "t": 80, "b": 60},
    )
    style_axes(figure)
    figure.update_annotations(font={"size": 13})
    figure.update_xaxes(range=[0, 1.05], tickformat=".1f", showticklabels=True)
    figure.update_xaxes(
        title={"text": "average precision of edges, mean over plants, 95 % t interval"},
        row=len(summary),
        col=1,
    )
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1])
