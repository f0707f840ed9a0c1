"""First-order attribution against exact patching, one dot for each head of both models."""

from collections.abc import Mapping

import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    LINE,
    PERCENT,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import (
    SHARE,
    attributed,
    effect_unit,
    node_estimates,
    pair,
    sample,
    text,
)
from circuits.compare.wording import ROLE_NAMES

_THIN: dict[str, object] = {"thickness": 0.8, "width": 0}

Points = dict[str, tuple[Estimate, Estimate]]


def attribution_figure(result: Mapping[str, object], contrast: Contrast) -> go.Figure:
    """Attribution across, exact patching up, means over pairs; on the line the two agree."""
    relative = effect_unit(result) == SHARE
    unit, scale = ("% of own range", PERCENT) if relative else ("logits", 1.0)
    figure = base_figure(
        f"Attribution: {contrast} contrast",
        f"one dot a head; {text(result, 'config', 'direction')}; {sample(result)}",
        height=420,
        x=f"attribution ({unit})",
        y=f"exact patching ({unit})",
    )
    points: dict[Role, Points] = {
        role: head_points(result, role, contrast) for role in pair(result)
    }
    _add_identity(figure, list(points.values()), scale)
    for role, found in points.items():
        _add_heads(figure, role, found, scale)
    figure.update_xaxes(zeroline=True)
    figure.update_yaxes(zeroline=True)
    return figure


def head_points(result: Mapping[str, object], role: Role, contrast: Contrast) -> Points:
    """Attribution and exact effect of each head for which both are known."""
    exact = node_estimates(result, role, contrast)
    return {
        name: (estimated, exact[name])
        for name, estimated in attributed(result, role, contrast).items()
        if name in exact and estimated.value is not None and exact[name].value is not None
    }


def _add_identity(figure: go.Figure, points: list[Points], scale: float) -> None:
    """As long as the intervals reach, so that it can be seen behind them."""
    values = [
        scale * end
        for found in points
        for both in found.values()
        for each in both
        for end in (each.value, each.low, each.high)
        if end is not None
    ]
    ends = [min(values, default=0.0), max(values, default=1.0)]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="equal",
        line={"color": LINE, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )


def _add_heads(figure: go.Figure, role: Role, points: Points, scale: float) -> None:
    estimated = [both[0] for both in points.values()]
    exact = [both[1] for both in points.values()]
    figure.add_scatter(
        x=[scaled(e, scale) for e in estimated],
        y=[scaled(e, scale) for e in exact],
        error_x={**error_bar(estimated, scale), **_THIN},
        error_y={**error_bar(exact, scale), **_THIN},
        mode="markers",
        name=ROLE_NAMES[role],
        marker={"symbol": ROLE_SYMBOLS[role], "size": 9, "color": ROLE_COLORS[role]},
        customdata=[[name, hover(a, scale), hover(b, scale)] for name, (a, b) in points.items()],
        hovertemplate=f"{ROLE_NAMES[role]} %{{customdata[0]}}<br>attribution %{{customdata[1]}}"
        "<br>exact %{customdata[2]}<extra></extra>",
    )
