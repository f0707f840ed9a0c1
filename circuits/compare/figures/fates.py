"""What became of the teacher's effect mass where heads are matched."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.examples import CONTRASTS, Contrast
from circuits.compare.figures.style import PERCENT, base_figure
from circuits.compare.reading import branch

COLORS = {
    "preserved": "#009E73",
    "merged": "#56B4E9",
    "weakened": "#E69F00",
    "lost": "#D55E00",
    "unmatched": "#8a8f98",
}
PATTERNS = {"preserved": "", "merged": "/", "weakened": "\\", "lost": "x", "unmatched": "."}


def fates_figure(result: Mapping[str, object]) -> go.Figure:
    """The teacher's effect mass by what became of it, in percent of its total range."""
    shown = fates(result)
    figure = base_figure(
        "The teacher's effect mass",
        "sum of absolute mean effects of its heads",
        height=260,
        x="% of the total range",
        y="",
    )
    for fate, color in COLORS.items():
        figure.add_bar(
            x=[PERCENT * by_fate.get(fate, 0.0) for by_fate in shown.values()],
            y=list(shown),
            orientation="h",
            name=fate,
            marker={"color": color, "pattern": {"shape": PATTERNS[fate], "size": 6}},
            hovertemplate=f"%{{y}}, {fate}: %{{x:.1f}} %<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.45, legend={"traceorder": "normal"})
    figure.update_yaxes(categoryorder="array", categoryarray=list(shown)[::-1])
    figure.update_xaxes(rangemode="tozero")
    return figure


def fates(result: Mapping[str, object]) -> dict[Contrast, dict[str, float]]:
    """By contrast, effect mass by fate; empty where heads were not matched."""
    stored = branch(result, "alignment", "fates")
    return {
        contrast: cast("dict[str, float]", branch(stored, contrast))
        for contrast in CONTRASTS
        if branch(stored, contrast)
    }
