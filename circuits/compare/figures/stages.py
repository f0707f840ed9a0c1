"""The stage profile as one figure: readability, margins, whole layers, on one axis of depth."""

from collections.abc import Mapping
from typing import Any, cast

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from circuits.compare.figures.layers import layers_figure
from circuits.compare.figures.margins import margin_roles, margins_figure
from circuits.compare.figures.readability import QUESTIONS, questions, readability_figure
from circuits.compare.figures.style import FONT, INK, style_axes
from circuits.compare.reading import contrasts
from circuits.compare.wording import ROLE_NAMES

PANEL_HEIGHT = 300


def stages_figure(result: Mapping[str, object]) -> go.Figure:
    """Questions to the probes, margins, then contrasts, two panels a row, by relative depth."""
    panels: dict[str, go.Figure] = {
        QUESTIONS[question]: readability_figure(result, question) for question in questions(result)
    }
    panels |= {
        f"margin by depth: {ROLE_NAMES[role]}": margins_figure(result, role)
        for role in margin_roles(result)
    }
    panels |= {f"whole layers: {each}": layers_figure(result, each) for each in contrasts(result)}
    n_rows = max(1, (len(panels) + 1) // 2)
    figure = make_subplots(n_rows, 2, subplot_titles=list(panels), vertical_spacing=0.28 / n_rows)
    named: set[str] = set()
    for place, panel in enumerate(panels.values()):
        row, column = place // 2 + 1, place % 2 + 1
        for trace in cast("tuple[Any, ...]", panel.data):
            trace.update(legendgroup=trace.name, showlegend=trace.name not in named)
            named.add(trace.name)
            figure.add_trace(trace, row, column)
        axis = cast("Any", panel.layout).yaxis
        figure.update_yaxes(axis.to_plotly_json(), row=row, col=column)
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=120 + PANEL_HEIGHT * n_rows,
    )
    style_axes(figure)
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.25)
    figure.update_xaxes(title="relative depth", row=n_rows)
    return figure
