"""All heads of a layer patched together, by relative depth."""

from collections.abc import Mapping

import plotly.graph_objects as go

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    PERCENT,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    Dash,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.page.component_captions import all_heads
from circuits.compare.reading import SHARE, effect_unit, estimate, listing, pair, sample, text
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES

_PARTS: tuple[tuple[str, str, Dash], ...] = (
    ("", "all of it", "solid"),
    ("_patterns", "patterns alone", "dash"),
    ("_values", "values alone", "dot"),
)


def layers_figure(result: Mapping[str, object], contrast: Contrast) -> go.Figure:
    """Effect of a layer's heads together, in percent of each model's own total range."""
    relative = effect_unit(result) == SHARE
    row = all_heads(result).rpartition(" ")[2]
    figure = base_figure(
        f"Whole {row}s: {contrast} contrast",
        f"{text(result, 'config', 'direction')}; {sample(result)}",
        height=380,
        x=f"relative depth of the {row}",
        y="effect (% of own range)" if relative else "effect (logits)",
    )
    for suffix, label, dash in _PARTS:
        for role in pair(result):
            key = f"layer_{contrast}{suffix}" + ("" if relative else "_logits")
            rows = [
                row for row in listing(result, "stages") if row.get("model") == role and key in row
            ]
            _add_line(figure, role, rows, key, label, dash, PERCENT if relative else 1.0)
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.25)
    figure.update_yaxes(zeroline=True, rangemode="tozero")
    return figure


def _add_line(
    figure: go.Figure,
    role: Role,
    rows: list[Json],
    key: str,
    label: str,
    dash: Dash,
    scale: float,
) -> None:
    found = [estimate(row, key) for row in rows]
    if not any(e.value is not None for e in found):
        return
    figure.add_scatter(
        x=[row["depth"] for row in rows],
        y=[scaled(e, scale) for e in found],
        error_y=error_bar(found, scale),
        mode="lines+markers",
        name=f"{ROLE_NAMES[role]}: {label}",
        line={"color": ROLE_COLORS[role], "dash": dash, "width": 2},
        marker={
            "symbol": ROLE_SYMBOLS[role] + ("" if dash == "solid" else "-open"),
            "size": 10 if dash == "solid" else 8,
            "color": ROLE_COLORS[role],
        },
        customdata=[[row["stage"], hover(e, scale)] for row, e in zip(rows, found, strict=True)],
        hovertemplate=f"{ROLE_NAMES[role]} %{{customdata[0]}}, {label}: %{{customdata[1]}}"
        "<extra></extra>",
    )
