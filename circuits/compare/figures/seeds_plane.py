"""The core-shortcut plane over seeds: a dot for each seed, all roles."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.config import ROLES, Role
from circuits.compare.figures.plane import add_rays, fix_plane
from circuits.compare.figures.style import (
    LINE,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    base_figure,
    error_bar,
    hover,
)
from circuits.compare.reading import branch, estimate
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES

_THIN: dict[str, object] = {"thickness": 0.8, "width": 0}

Points = list[tuple[str, Estimate, Estimate]]
"""Of each seed: its name, core effect and shortcut effect."""


def seeds_plane_figure(stored: Mapping[str, object]) -> go.Figure:
    """Core effect across, shortcut effect up, in probability; teacher and student joined by seed.

    Args:
        stored: A summary of several seeds.
    """
    figure = base_figure(
        "What moves the answer, seed by seed",
        f"a dot a seed; {stored['n_seeds']} seeds; bars over the quads of a seed",
        height=430,
        x="core effect (probability)",
        y="shortcut effect (probability)",
    )
    add_rays(figure)
    points: dict[Role, Points] = {role: plane_points(stored, role) for role in plane_roles(stored)}
    if "teacher" in points and "student" in points:
        _join(figure, points["teacher"], points["student"])
    for role, found in points.items():
        _add_seeds(figure, role, found)
    fix_plane(figure)
    return figure


def plane_roles(stored: Mapping[str, object]) -> tuple[Role, ...]:
    """The roles whose places on the plane are stored."""
    return tuple(role for role in ROLES if plane_points(stored, role))


def plane_points(stored: Mapping[str, object], role: Role) -> Points:
    """The seeds of a role that have both effects."""
    rows = branch(stored, "plane").get(role)
    found = [
        (str(row["run"]), estimate(row, "core"), estimate(row, "shortcut"))
        for row in (cast("list[Json]", rows) if isinstance(rows, list) else [])
    ]
    return [
        (run, core, shortcut)
        for run, core, shortcut in found
        if core.value is not None and shortcut.value is not None
    ]


def _join(figure: go.Figure, teacher: Points, student: Points) -> None:
    """A line from the teacher to the student of each seed."""
    ends = {run: (core.value, shortcut.value) for run, core, shortcut in teacher}
    xs: list[float | None] = []
    ys: list[float | None] = []
    for run, core, shortcut in student:
        if run in ends:
            xs += [ends[run][0], core.value, None]
            ys += [ends[run][1], shortcut.value, None]
    figure.add_scatter(
        x=xs,
        y=ys,
        mode="lines",
        name="one seed",
        line={"color": LINE, "width": 1},
        hoverinfo="skip",
    )


def _add_seeds(figure: go.Figure, role: Role, points: Points) -> None:
    cores, shortcuts = [core for _, core, _ in points], [shortcut for _, _, shortcut in points]
    figure.add_scatter(
        x=[each.value for each in cores],
        y=[each.value for each in shortcuts],
        error_x={**error_bar(cores), **_THIN},
        error_y={**error_bar(shortcuts), **_THIN},
        mode="markers",
        name=ROLE_NAMES[role],
        marker={
            "symbol": ROLE_SYMBOLS[role],
            "size": 11 if role in ("teacher", "student") else 9,
            "color": ROLE_COLORS[role],
        },
        customdata=[
            [run, hover(core, digits=3), hover(shortcut, digits=3)]
            for run, core, shortcut in points
        ],
        hovertemplate=f"{ROLE_NAMES[role]}, %{{customdata[0]}}<br>core %{{customdata[1]}}"
        "<br>shortcut %{customdata[2]}<extra></extra>",
    )
