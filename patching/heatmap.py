"""Heatmaps of nodes, drawn as the field draws them.

Layer 0 at the bottom, heads across, MLPs in a column of their own, red-blue centred at zero. Cells
whose interval reaches zero carry a small cross.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from behavior.errors import DataError
from behavior.resampling import Resamples
from patching.models.nodes import Node

if TYPE_CHECKING:
    from patching.effects import Effects
    from patching.positions import PositionEffects

_COLOURS = "RdBu_r"
_MLP = "MLP"
_CELL, _MARGIN = 34, 150


def head_heatmap(
    heads: Float[np.ndarray, "layer head"],
    mlps: Float[np.ndarray, " layer"] | None = None,
    *,
    title: str,
    unit: str = "logits",
    limit: float | None = None,
    unclear: Bool[np.ndarray, "layer column"] | None = None,
    hover: Sequence[Sequence[str]] | None = None,
) -> go.Figure:
    """Heads across, layers upwards from 0, and a column of MLPs if they are given.

    Args:
        heads: One number for each head.
        mlps: One number for each MLP.
        title: Should name unit, direction and n.
        unit: Shown at the colour bar.
        limit: End of the colour range, which is symmetric; by default the largest number of a
            head, as MLPs often carry far more. Give one limit to all heatmaps that are to be
            compared.
        unclear: Cells to be marked with a cross, MLP column last.
        hover: Text of each cell, MLP column last.
    """
    values, columns = heads, [str(head) for head in range(heads.shape[1])]
    if mlps is not None:
        values, columns = np.column_stack([heads, mlps]), [*columns, _MLP]
    figure = go.Figure(_cells(values, columns, unit, _limit(heads, limit), hover))
    if unclear is not None:
        figure.add_trace(_crosses(unclear, columns))
    _lay_out(figure, title, "head", columns, [str(layer) for layer in range(len(values))])
    return figure


def effects_heatmap(
    effects: "Effects", resamples: Resamples | None = None, limit: float | None = None
) -> go.Figure:
    """Heatmap of the mean effects of all heads, MLPs and layers that were patched.

    Raises:
        DataError: If neither heads, MLPs nor layers were patched.
    """
    summary = effects.summary(resamples)
    columns = _columns(effects.nodes)
    n_layers = 1 + max(layer for layer, _ in columns.values())
    names = sorted({name for _, name in columns.values()}, key=_column_order)
    shape = (n_layers, len(names))
    values, unclear = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    hover = [[""] * len(names) for _ in range(n_layers)]
    for i, node in enumerate(effects.nodes):
        if node not in columns:
            continue
        layer, name = columns[node]
        place = layer, names.index(name)
        values[place], unclear[place] = summary.mean[i], summary.reaches_zero[i]
        hover[layer][place[1]] = (
            f"{node}: {summary.mean[i]:.4f} [{summary.low[i]:.4f}, {summary.high[i]:.4f}], "
            f"q = {summary.q[i]:.3f}"
        )
    of_heads = [place for place, name in enumerate(names) if name != _MLP]
    end = _limit(values[:, of_heads] if of_heads else values, limit)
    figure = go.Figure(_cells(values, names, effects.unit, end, hover))
    figure.add_trace(_crosses(unclear, names))
    _lay_out(figure, _title(effects, summary.n), "head", names, [str(i) for i in range(n_layers)])
    return figure


def positions_heatmap(
    effects: "PositionEffects", pairs: tuple[int, ...], limit: float | None = None
) -> go.Figure:
    """Heatmap of the mean effects of some pairs with as many words: words across.

    A word that is not the same in all of them is shown as the place that it has.
    """
    values = effects.mean(pairs).double().numpy()
    places = zip(*(effects.words[i] for i in pairs), strict=True)
    words = [same[0] if len(set(same)) == 1 else "..." for same in places]
    columns = [f"{place} {word}" for place, word in enumerate(words)]
    figure = go.Figure(_cells(values, columns, effects.unit, _limit(values, limit), None))
    title = (
        f"{effects.model}: {effects.contrast} contrast, {effects.site} patched at one word<br>"
        f"<sup>{effects.direction}, effect in {effects.unit}, mean of {len(pairs)} of "
        f"{len(effects)} pairs</sup>"
    )
    _lay_out(figure, title, "word", columns, [str(layer) for layer in range(len(values))])
    return figure


def _cells(
    values: Float[np.ndarray, "row column"],
    columns: Sequence[str],
    unit: str,
    end: float,
    hover: Sequence[Sequence[str]] | None,
) -> go.Heatmap:
    return go.Heatmap(
        z=values,
        x=list(columns),
        y=[str(row) for row in range(len(values))],
        zmin=-end,
        zmax=end,
        zmid=0,
        colorscale=_COLOURS,
        colorbar={"title": {"text": unit}},
        text=None if hover is None else [list(row) for row in hover],
        hovertemplate=None if hover is None else "%{text}<extra></extra>",
        xgap=1,
        ygap=1,
    )


def _limit(values: Float[np.ndarray, "row column"], limit: float | None) -> float:
    return limit if limit is not None else float(np.nanmax(np.abs(values))) or 1.0


def _crosses(unclear: Bool[np.ndarray, "row column"], columns: Sequence[str]) -> go.Scatter:
    rows, places = (found.tolist() for found in np.nonzero(unclear))
    return go.Scatter(
        x=[columns[place] for place in places],
        y=[str(row) for row in rows],
        mode="markers",
        marker={"symbol": "x-thin-open", "size": 7, "color": "rgba(90, 90, 90, 0.8)"},
        name="interval reaches zero",
        hoverinfo="skip",
    )


def _lay_out(
    figure: go.Figure, title: str, across: str, columns: Sequence[str], rows: Sequence[str]
) -> None:
    axis = {"type": "category", "showgrid": False, "zeroline": False}
    figure.update_layout(
        title={"text": title},
        xaxis={**axis, "title": {"text": across}, "categoryarray": list(columns)},
        yaxis={**axis, "title": {"text": "layer"}, "categoryarray": list(rows)},
        width=max(420, _CELL * len(columns) + 2 * _MARGIN),
        height=max(320, _CELL * len(rows) + _MARGIN + 40),
        plot_bgcolor="white",
        legend={"orientation": "h", "y": -0.25},
    )


def _columns(nodes: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Layer and column of each node that has a layer."""
    found: dict[str, tuple[int, str]] = {}
    for name in nodes:
        node = Node.parse(name)
        if node.layer is not None:
            column = {"head": str(node.head), "mlp": _MLP, "heads": "all heads"}[node.kind]
            found[name] = node.layer, column
    if not found:
        raise DataError(f"None of {', '.join(nodes)} has a layer, so there is no heatmap.")
    return found


def _column_order(column: str) -> tuple[int, int]:
    return (0, int(column)) if column.isdecimal() else (1 + (column == _MLP), 0)


def _title(effects: "Effects", n: int) -> str:
    what = "" if effects.what == "outputs" else f", {effects.what}"
    return (
        f"{effects.model}: {effects.contrast} contrast, {effects.method}{what}<br>"
        f"<sup>{effects.direction}, effect in {effects.unit}, n = {n} units</sup>"
    )
