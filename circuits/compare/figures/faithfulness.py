"""How far circuits of each size carry a contrast alone, beside as many random edges."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    LINE,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    base_figure,
    error_bar,
    hover,
)
from circuits.compare.reading import circuit_contrasts, estimate, listing, pair, text, units
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES

_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_LINES = (("faithfulness", "circuit", "solid"), ("random", "random edges", "dot"))


def faithfulness_figure(result: Mapping[str, object], contrast: Contrast) -> go.Figure:
    """Share of the edges across (log), faithfulness f up, for both models."""
    shown: list[Role] = [
        role for role in pair(result) if contrast in circuit_contrasts(result, role)
    ]
    first: Role = shown[0] if shown else "student"
    method = text(result, "models", first, "circuits", contrast, "method")
    n = estimate(result, "models", first, "circuits", contrast, "clean").n
    figure = base_figure(
        f"Faithfulness of circuits: {contrast} contrast",
        f"{method}; n = {n:,} held-out {units(result)}",
        height=400,
        x="share of the model's edges (%)",
        y="faithfulness f",
    )
    figure.add_hline(y=1, line={"color": LINE, "width": 1.5, "dash": "dash"})
    for role in shown:
        points = listing(result, "models", role, "circuits", contrast, "faithfulness")
        for key, label, dash in _LINES:
            _add_curve(figure, role, points, key, label, dash)
    figure.update_xaxes(
        type="log", tickvals=list(_TICKS), ticktext=[f"{tick:g}" for tick in _TICKS]
    )
    figure.update_yaxes(zeroline=True)
    return figure


def _add_curve(
    figure: go.Figure, role: Role, points: list[Json], key: str, label: str, dash: str
) -> None:
    found = [estimate(point, key) for point in points]
    if not any(each.value is not None for each in found):
        return
    random = key == "random"
    figure.add_scatter(
        x=[cast(float, point["percent"]) for point in points],
        y=[each.value for each in found],
        error_y=error_bar(found),
        mode="lines+markers",
        name=f"{ROLE_NAMES[role]}: {label}",
        line={"color": ROLE_COLORS[role], "dash": dash, "width": 1.5 if random else 2},
        marker={
            "symbol": ROLE_SYMBOLS[role] + ("-open" if random else ""),
            "size": 7 if random else 9,
            "color": ROLE_COLORS[role],
        },
        customdata=[
            [point["n_edges"], hover(each, digits=2)]
            for point, each in zip(points, found, strict=True)
        ],
        hovertemplate=f"{ROLE_NAMES[role]}, %{{customdata[0]}} {label if random else 'edges'}"
        "<br>f = %{customdata[1]}<extra></extra>",
    )
