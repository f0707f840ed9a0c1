"""The core-shortcut plane: what moves the answers of each model."""

from collections.abc import Mapping

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    GREY,
    LINE,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    base_figure,
    error_bar,
    hover,
)
from circuits.compare.reading import estimate, listing, pair, roles, sample
from circuits.compare.wording import ROLE_NAMES

_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def plane_figure(result: Mapping[str, object]) -> go.Figure:
    """Core effect across, shortcut effect up, both in probability, with lines of equal share."""
    figure = base_figure(
        "What moves the answer",
        sample(result),
        height=430,
        x="core effect (probability)",
        y="shortcut effect (probability)",
    )
    add_rays(figure)
    points: dict[Role, tuple[Estimate, Estimate]] = {
        role: _point(result, role) for role in roles(result)
    }
    for role in pair(result):
        _add_twins(figure, result, role)
    for role, (core, shortcut) in points.items():
        _add_point(figure, role, core, shortcut)
    _add_arrow(figure, points)
    fix_plane(figure)
    return figure


def add_rays(figure: go.Figure) -> None:
    """Lines of equal share."""
    for share in _SHARES:
        _add_ray(figure, share)


def fix_plane(figure: go.Figure) -> None:
    """The ranges that all planes share."""
    figure.update_xaxes(range=[-0.08, 1.12], dtick=0.25, zeroline=True)
    figure.update_yaxes(range=[-0.08, 1.12], dtick=0.25, zeroline=True)


def _point(result: Mapping[str, object], role: Role) -> tuple[Estimate, Estimate]:
    return (
        estimate(result, "models", role, "behavior", "core_effect"),
        estimate(result, "models", role, "behavior", "shortcut_effect"),
    )


def _add_ray(figure: go.Figure, share: float) -> None:
    x, y = 1 - share, share
    figure.add_scatter(
        x=[0, x],
        y=[0, y],
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": LINE, "width": 1, "dash": "dot"},
    )
    figure.add_annotation(
        x=x,
        y=y,
        text=f"share {share:g}",
        showarrow=False,
        xanchor="left" if share else "right",
        yanchor="bottom" if share else "top",
        font={"size": 11, "color": GREY},
        xshift=3 if share else -12,
    )


def _add_point(figure: go.Figure, role: Role, core: Estimate, shortcut: Estimate) -> None:
    main = role in ("teacher", "student")
    figure.add_scatter(
        x=[core.value],
        y=[shortcut.value],
        error_x=error_bar([core]),
        error_y=error_bar([shortcut]),
        mode="markers",
        name=ROLE_NAMES[role],
        marker={
            "symbol": ROLE_SYMBOLS[role],
            "size": 15 if main else 11,
            "color": ROLE_COLORS[role],
            "line": {"width": 0 if main else 2, "color": ROLE_COLORS[role]},
        },
        hovertemplate=(
            f"{ROLE_NAMES[role]}<br>core {hover(core, digits=3)}<br>"
            f"shortcut {hover(shortcut, digits=3)}<extra></extra>"
        ),
    )


def _add_twins(figure: go.Figure, result: Mapping[str, object], role: Role) -> None:
    """A small dot for each other seed of a model; nothing without twins."""
    found = [
        (str(row["model"]), estimate(row, "core_effect"), estimate(row, "shortcut_effect"))
        for row in listing(result, "twin_cues")
        if row.get("of") == role
    ]
    if not found:
        return
    figure.add_scatter(
        x=[core.value for _, core, _ in found],
        y=[shortcut.value for _, _, shortcut in found],
        mode="markers",
        name=f"{ROLE_NAMES[role]}, other seeds",
        opacity=0.75,
        marker={"symbol": f"{ROLE_SYMBOLS[role]}-dot", "size": 8, "color": ROLE_COLORS[role]},
        customdata=[
            [name.replace("_", " "), hover(core, digits=3), hover(shortcut, digits=3)]
            for name, core, shortcut in found
        ],
        hovertemplate="%{customdata[0]}<br>core %{customdata[1]}<br>shortcut %{customdata[2]}"
        "<extra></extra>",
    )


def _add_arrow(figure: go.Figure, points: Mapping[Role, tuple[Estimate, Estimate]]) -> None:
    if "teacher" not in points or "student" not in points:
        return
    (start_x, start_y), (end_x, end_y) = points["teacher"], points["student"]
    ends = (start_x.value, start_y.value, end_x.value, end_y.value)
    if None in ends or (ends[0] == ends[2] and ends[1] == ends[3]):
        return
    figure.add_annotation(
        ax=ends[0],
        ay=ends[1],
        x=ends[2],
        y=ends[3],
        axref="x",
        ayref="y",
        showarrow=True,
        arrowhead=2,
        arrowsize=1.2,
        arrowwidth=1.6,
        arrowcolor=ROLE_COLORS["student"],
        standoff=12,
        startstandoff=12,
        text="",
    )
