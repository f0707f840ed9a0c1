"""Head-importance heatmaps of a stored result: teacher and student, core and shortcut, one scale.

Drawn by `patching.heatmap`; MLPs are left out of the scale, as in post-norm models they carry
nearly the whole stream.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.style import FONT, INK, hover, style_axes
from circuits.compare.reading import branch, contrasts, effect_unit, node_estimates, pair, text
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES
from patching.heatmap import head_heatmap

_NODE = re.compile(r"a(?P<layer>\d+)\.h(?P<head>\d+)|m(?P<mlp>\d+)")


@dataclass(frozen=True, slots=True)
class HeadGrid:
    """The cells of one heatmap, with the MLPs as the last column.

    Attributes:
        values: [layer, column] effects.
        unclear: [layer, column] whether the interval reaches zero.
        hover: [layer][column] what a cell says.
        n: Units of resampling.
    """

    values: Float[np.ndarray, "layer column"]
    unclear: Bool[np.ndarray, "layer column"]
    hover: list[list[str]]
    n: int


def head_grid(result: Mapping[str, object], role: Role, contrast: Contrast) -> HeadGrid:
    """The effects of one model and contrast, in rows of layers."""
    found = node_estimates(result, role, contrast)
    places = {name: place for name in found if (place := _place(name)) is not None}
    n_layers = 1 + max(layer for layer, _ in places.values())
    n_columns = 2 + max(column for _, column in places.values())
    values = np.full((n_layers, n_columns), np.nan)
    unclear = np.zeros((n_layers, n_columns), dtype=bool)
    labels = [[""] * n_columns for _ in range(n_layers)]
    for name, (layer, column) in places.items():
        place = found[name]
        values[layer, column] = np.nan if place.value is None else place.value
        unclear[layer, column] = not place.excludes_zero
        labels[layer][column] = f"{name}: {hover(place, digits=3)}"
    return HeadGrid(values, unclear, labels, next(iter(found.values())).n)


def color_limit(result: Mapping[str, object]) -> float:
    """The largest effect of a head in any map, so that all maps share one scale."""
    values = [
        abs(found.value)
        for role in pair(result)
        for contrast in contrasts(result, role)
        for name, found in node_estimates(result, role, contrast).items()
        if found.value is not None and not name.startswith("m")
    ]
    return max(values, default=0.0) or 1.0


def heads_figure(result: Mapping[str, object], role: Role, contrast: Contrast) -> go.Figure:
    """One heatmap on the scale of all, complete with color bar, unit, direction and n."""
    grid = head_grid(result, role, contrast)
    unit, direction = effect_unit(result), text(result, "config", "direction")
    return head_heatmap(
        grid.values[:, :-1],
        grid.values[:, -1],
        title=(
            f"{ROLE_NAMES[role]}: {contrast} contrast<br>"
            f"<sup>{direction}; {unit}; n = {grid.n:,} units</sup>"
        ),
        unit=unit.replace(" of own ", "<br>of own "),
        limit=color_limit(result),
        unclear=grid.unclear,
        hover=grid.hover,
    )


def heads_panel(result: Mapping[str, object], role: Role, contrast: Contrast) -> go.Figure:
    """The same map for the page: as wide as its place, one color bar for all, any background."""
    figure = heads_figure(result, role, contrast)
    n_layers = max(len(head_grid(result, each, contrast).values) for each in pair(result))
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    style_axes(figure)
    figure.update_layout(
        template="none",
        title={"x": 0, "xref": "container", "pad": {"l": 8}, "font": {"size": 15}},
        font={"family": FONT, "size": 13, "color": INK},
        autosize=True,
        width=None,
        height=panel_height(n_layers),
        margin={"l": 46, "r": 10, "t": 62, "b": 46},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
    )
    return figure


def panel_height(n_layers: int) -> int:
    """Height of a map on the page, in pixels."""
    return 120 + max(150, min(30 * n_layers, 480))


def node_rows(result: Mapping[str, object], role: Role, contrast: Contrast) -> list[Json]:
    """The numbers behind one map, a row for each node: value, low, high, q, n."""
    nodes = node_estimates(result, role, contrast)
    stored = branch(result, "models", role, "effects", contrast, "nodes")
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


def _place(name: str) -> tuple[int, int] | None:
    """Row and column of a node; the MLP column is the last."""
    match = _NODE.fullmatch(name)
    if match is None:
        return None
    if match["mlp"] is not None:
        return int(match["mlp"]), -1
    return int(match["layer"]), int(match["head"])
