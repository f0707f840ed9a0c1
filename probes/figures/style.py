"""Colors, symbols and the layout that all figures share.

Okabe and Ito's palette, which stays apart for color-blind readers; every color comes with a
symbol or a dash of its own. Backgrounds are transparent and axes mid-grey, so that a figure can
be read on a light and on a dark page; the report recolors text and grid by its theme.
"""

from typing import Any, Literal

import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import Cell, Contrast

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
INK = "#3c4043"
GRID = "rgba(128,128,128,0.22)"
LINE = "rgba(128,128,128,0.55)"
GREY = "#8a8f98"

CELL_COLORS: dict[Cell, str] = {"A": "#0072B2", "N": "#D55E00", "C": "#E69F00", "L": "#56B4E9"}
CELL_SYMBOLS: dict[Cell, str] = {"A": "circle", "N": "diamond", "C": "square", "L": "triangle-up"}
CELL_LABELS: dict[Cell, str] = {
    "A": "A aligned",
    "N": "N conflicting",
    "C": "C conflicting",
    "L": "L aligned",
}

PAIR_COLORS: dict[str, str] = {"teacher": "#009E73", "student": "#CC79A7"}
PAIR_SYMBOLS: dict[str, str] = {"teacher": "circle", "student": "diamond"}

CONTRAST_COLORS: dict[Contrast, str] = {"core": "#0072B2", "shortcut": "#D55E00"}
CONTRAST_SYMBOLS: dict[Contrast, str] = {"core": "circle", "shortcut": "square"}

CARRIES, AGAINST = "#b2182b", "#2166ac"
"""As the ends of the heatmaps' scale."""

PERCENT = 100.0

Dash = Literal["solid", "dash", "dot"]


def base_figure(title: str, note: str, *, height: int, x: str, y: str) -> go.Figure:
    """An empty figure with a title, a note below it, both axis titles and the shared look."""
    figure = go.Figure()
    set_look(figure, title, note, pad={"l": 8})
    figure.update_layout(
        height=height,
        margin={"l": 58, "r": 16, "t": 62, "b": 60},
        legend={
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.2,
            "yanchor": "top",
            "font": {"size": 12},
        },
    )
    style_axes(figure)
    figure.update_xaxes(title={"text": x, "standoff": 8})
    figure.update_yaxes(title={"text": y, "standoff": 8})
    return figure


def set_look(figure: go.Figure, title: str, note: str, **placing: object) -> None:
    """Title with a note below it, fonts and colours; `placing` says where the title stands."""
    figure.update_layout(
        template="none",
        title={
            "text": f"{title}<br><sup>{note}</sup>",
            "x": 0,
            "xref": "container",
            "font": {"size": 15},
            **placing,
        },
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"font": {"family": FONT, "size": 12}},
    )


def style_axes(figure: go.Figure) -> None:
    """Grid, lines and zero line of all axes."""
    shared: dict[str, Any] = {
        "gridcolor": GRID,
        "zerolinecolor": LINE,
        "linecolor": LINE,
        "tickcolor": LINE,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
    }
    figure.update_xaxes(**shared)
    figure.update_yaxes(**shared)


def error_bar(estimates: list[Estimate], scale: float = 1.0) -> dict[str, object]:
    """Plotly's asymmetric error bars from intervals; none where there is no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [_reach(e.high, e.value, scale) for e in estimates],
        "arrayminus": [_reach(e.value, e.low, scale) for e in estimates],
        "thickness": 1.4,
        "width": 3,
    }


def scaled(estimate: Estimate, scale: float = 1.0) -> float | None:
    """The value in another unit, or None."""
    return None if estimate.value is None else scale * estimate.value


def hover(estimate: Estimate, scale: float = 1.0, digits: int = 1) -> str:
    """Value, interval and count for a hover box."""
    if estimate.value is None:
        return f"none: {estimate.reason}"
    text = f"{scale * estimate.value:.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" ({scale * estimate.low:.{digits}f} to {scale * estimate.high:.{digits}f})"
    return f"{text}, n = {estimate.n:,}"


def _reach(upper: float | None, lower: float | None, scale: float) -> float:
    return 0.0 if upper is None or lower is None else max(0.0, scale * (upper - lower))
