"""Head-importance heatmaps of a stored result: teacher and student, core and shortcut, one scale.

Drawn by `patching.heatmap`; MLPs are left out of the scale, as in post-norm models they carry
nearly the whole stream. Where the data hold no pairs the maps show ablated heads on aligned and on
conflicting examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from circuits.compare.config import Role
from circuits.compare.figures.style import FONT, INK, hover, style_axes
from circuits.compare.reading import (
    Panel,
    branch,
    effect_unit,
    groups,
    is_head,
    node_estimates,
    pair,
    panels,
    stored_nodes,
    text,
)
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES
from patching.heatmap import NodeGrid, head_heatmap, node_grid


@dataclass(frozen=True, slots=True)
class HeadGrid:
    """The cells of one heatmap, with the MLPs, if there are any, as the last column.

    Attributes:
        grid: Names of rows and columns.
        values: [row, column] effects; NaN in a row without an MLP.
        unclear: [row, column] whether the interval reaches zero.
        hover: [row][column] what a cell says.
        n: Units of resampling.
    """

    grid: NodeGrid
    values: Float[np.ndarray, "row column"]
    unclear: Bool[np.ndarray, "row column"]
    hover: list[list[str]]
    n: int

    @property
    def n_heads(self) -> int:
        """Columns that are heads."""
        return sum(column.isdecimal() for column in self.grid.columns)


def head_grid(result: Mapping[str, object], role: Role, panel: Panel) -> HeadGrid:
    """The effects of one model and contrast or group, row by row."""
    found = node_estimates(result, role, panel)
    grid = node_grid(found)
    shape = len(grid.names), len(grid.columns)
    values, unclear = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    labels = [[""] * len(grid.columns) for _ in grid.names]
    for name, (row, column) in grid.places.items():
        place = found[name]
        values[row, column] = np.nan if place.value is None else place.value
        unclear[row, column] = not place.excludes_zero
        labels[row][column] = f"{name}: {hover(place, digits=3)}"
    return HeadGrid(grid, values, unclear, labels, next(iter(found.values())).n)


def color_limit(result: Mapping[str, object]) -> float:
    """The largest effect of a head in any map, so that all maps share one scale."""
    values = [
        abs(found.value)
        for role in pair(result)
        for panel in panels(result, role)
        for name, found in node_estimates(result, role, panel).items()
        if found.value is not None and is_head(name)
    ]
    return max(values, default=0.0) or 1.0


def heads_figure(result: Mapping[str, object], role: Role, panel: Panel) -> go.Figure:
    """One heatmap on the scale of all, complete with color bar, unit, direction and n."""
    found = head_grid(result, role, panel)
    unit, n_heads = effect_unit(result), found.n_heads
    return head_heatmap(
        found.values[:, :n_heads],
        found.values[:, n_heads] if n_heads < len(found.grid.columns) else None,
        title=_title(result, role, panel, found.n),
        unit=unit.replace(" of own ", "<br>of own "),
        limit=color_limit(result),
        unclear=found.unclear,
        hover=found.hover,
        grid=found.grid,
    )


def heads_panel(result: Mapping[str, object], role: Role, panel: Panel) -> go.Figure:
    """The same map for the page: as wide as its place, one color bar for all, any background."""
    figure = heads_figure(result, role, panel)
    n_rows = max(len(head_grid(result, each, panel).values) for each in pair(result))
    nodes = {
        name: list(place)
        for name, place in node_grid(node_estimates(result, role, panel)).places.items()
    }
    figure.update_traces(
        showscale=False, meta={"role": role, "nodes": nodes}, selector={"type": "heatmap"}
    )
    style_axes(figure)
    figure.update_layout(
        template="none",
        title={"x": 0, "xref": "container", "pad": {"l": 8}, "font": {"size": 15}},
        font={"family": FONT, "size": 13, "color": INK},
        autosize=True,
        width=None,
        height=panel_height(n_rows),
        margin={"l": 46, "r": 10, "t": 62, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
    )
    return figure


def panel_height(n_rows: int) -> int:
    """Height of a map on the page, in pixels."""
    return 120 + max(150, min(30 * n_rows, 480))


def node_rows(result: Mapping[str, object], role: Role, panel: Panel) -> list[Json]:
    """The numbers behind one map, a row for each node: value, low, high, q, n."""
    nodes = node_estimates(result, role, panel)
    stored = stored_nodes(result, role, panel)
    return [
        {
            "node": name,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "q": branch(stored, name).get("q"),
            "n": found.n,
        }
        for name, found in nodes.items()
    ]


def _title(result: Mapping[str, object], role: Role, panel: Panel, n: int) -> str:
    unit = effect_unit(result)
    if panel in groups(result, role):
        return (
            f"{ROLE_NAMES[role]}: {panel} examples<br>"
            f"<sup>mean ablation; {unit}; n = {n:,} examples</sup>"
        )
    return (
        f"{ROLE_NAMES[role]}: {panel} contrast<br>"
        f"<sup>{text(result, 'config', 'direction')}; {unit}; n = {n:,} units</sup>"
    )
