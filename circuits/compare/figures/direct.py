"""Direct attribution of one model: the writers that move the margin most, core beside shortcut."""

from collections.abc import Mapping

import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    CONTRAST_COLORS,
    CONTRAST_SYMBOLS,
    PERCENT,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import SHARE, direct_contrasts, direct_estimates, effect_unit, sample
from circuits.compare.wording import ROLE_NAMES

MOST_SHOWN = 12
"""Writers that are shown; all are stored."""

_ROW, _FRAME = 24, 130


def direct_figure(result: Mapping[str, object], role: Role) -> go.Figure:
    """A row for each of the strongest writers, in the order in which they write from below."""
    relative = effect_unit(result) == SHARE
    found = _by_contrast(result, role)
    shown = strongest(found)
    figure = base_figure(
        f"Direct paths: {ROLE_NAMES[role]}",
        f"{len(shown)} strongest of {_n_writers(found)} writers; {sample(result)}",
        height=direct_height(result, role),
        x=f"direct effect ({'% of own range' if relative else 'logits'})",
        y="writer",
    )
    for contrast, nodes in found.items():
        _add_dots(figure, contrast, {name: nodes[name] for name in shown}, relative)
    figure.update_xaxes(zeroline=True)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=shown)
    return figure


def direct_height(result: Mapping[str, object], role: Role) -> int:
    """Pixels that the figure takes."""
    return _FRAME + _ROW * max(len(strongest(_by_contrast(result, role))), 4)


def strongest(found: Mapping[Contrast, Mapping[str, Estimate]]) -> list[str]:
    """Names of the writers with the largest effect in any contrast, in the order of writing."""
    names = list(next(iter(found.values()), {}))
    size = {name: max(abs(nodes[name].value or 0.0) for nodes in found.values()) for name in names}
    kept = set(sorted(names, key=lambda name: -size[name])[:MOST_SHOWN])
    return [name for name in names if name in kept]


def _by_contrast(result: Mapping[str, object], role: Role) -> dict[Contrast, dict[str, Estimate]]:
    found: dict[Contrast, dict[str, Estimate]] = {}
    for contrast in direct_contrasts(result, role):
        found[contrast] = direct_estimates(result, role, contrast)
    return found


def _n_writers(found: Mapping[Contrast, Mapping[str, Estimate]]) -> int:
    return len(next(iter(found.values()), {}))


def _add_dots(
    figure: go.Figure, contrast: Contrast, nodes: Mapping[str, Estimate], relative: bool
) -> None:
    scale = PERCENT if relative else 1.0
    estimates = list(nodes.values())
    color = CONTRAST_COLORS[contrast]
    figure.add_scatter(
        x=[scaled(each, scale) for each in estimates],
        y=list(nodes),
        error_x=error_bar(estimates, scale),
        mode="markers",
        name=contrast,
        marker={"symbol": CONTRAST_SYMBOLS[contrast], "size": 9, "color": color},
        customdata=[hover(each, scale, 1 if relative else 2) for each in estimates],
        hovertemplate=f"%{{y}}, {contrast}: %{{customdata}}<extra></extra>",
    )
