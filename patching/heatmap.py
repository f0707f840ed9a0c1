"""Heatmaps of nodes, drawn as the field draws them.

Layer 0 (the first row) at the bottom, heads or channel groups across, MLPs in a column of their
own, red-blue centred at zero. Cells whose interval reaches zero carry a small cross.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from behavior.errors import DataError
from behavior.resampling import Resamples
from patching.models.nodes import Node, own_stack

if TYPE_CHECKING:
    from patching.effects import Effects
    from patching.positions import PositionEffects

_COLOURS = "RdBu_r"
_MLP = "MLP"
_ALL, _ALL_GROUPS = "all heads", "all groups"
_CELL, _MARGIN = 34, 150


@dataclass(frozen=True, slots=True)
class NodeGrid:
    """Where nodes stand in a heatmap.

    Attributes:
        names: [row] such as `a3`, `dec.x0` or `s2.b1`, the first at the bottom.
        columns: [column] heads by their numbers, then `all heads` and `MLP` where there are any.
        places: Row and column of each node that has a row.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    places: dict[str, tuple[int, int]]

    @property
    def labels(self) -> list[str]:
        """[row] the layer's number where layers are all there is, else the row's name."""
        return [str(i) for i in range(len(self.names))] if self._plain else list(self.names)

    @property
    def up(self) -> str:
        """What the rows are: layers, blocks, or rows of several stacks."""
        if self._plain:
            return "layer"
        return "block" if self._in_stages else "row"

    @property
    def across(self) -> str:
        """What the columns are: heads, or groups of channels."""
        return "channel group" if self._in_stages else "head"

    @property
    def _plain(self) -> bool:
        return self.names == tuple(f"a{i}" for i in range(len(self.names)))

    @property
    def _in_stages(self) -> bool:
        return all(Node.parse(name).stack.startswith("s") for name in self.names)


def node_grid(nodes: Iterable[str]) -> NodeGrid:
    """Rows and columns for heads, MLPs and whole rows; other nodes get no place.

    The MLP of a decoder layer stands beside the cross-attention that it follows. Of a model with
    one stack all layers up to the last are shown.
    """
    found = {name: place for name in nodes if (place := _place(name)) is not None}
    rows = {row for row, _ in found.values()}
    if rows and all(not Node.parse(row).stack for row in rows):
        rows = {f"a{i}" for i in range(1 + max(_order(row)[2] for row in rows))}
    names = tuple(sorted(rows, key=_order))
    columns = tuple(sorted({column for _, column in found.values()}, key=_column_order))
    places = {
        name: (names.index(row), columns.index(column)) for name, (row, column) in found.items()
    }
    return NodeGrid(names, columns, places)


def head_heatmap(
    heads: Float[np.ndarray, "row head"],
    mlps: Float[np.ndarray, " row"] | None = None,
    *,
    title: str,
    unit: str = "logits",
    limit: float | None = None,
    unclear: Bool[np.ndarray, "row column"] | None = None,
    hover: Sequence[Sequence[str]] | None = None,
    grid: NodeGrid | None = None,
) -> go.Figure:
    """Heads across, rows upwards from the first, and a column of MLPs if they are given.

    Args:
        heads: One number for each head.
        mlps: One number for each MLP; NaN in a row without one.
        title: Should name unit, direction and n.
        unit: Shown at the colour bar.
        limit: End of the colour range, which is symmetric; by default the largest number of a
            head, as MLPs often carry far more. Give one limit to all heatmaps that are to be
            compared.
        unclear: Cells to be marked with a cross, MLP column last.
        hover: Text of each cell, MLP column last.
        grid: Names the rows; layers if missing.
    """
    values, columns = heads, [str(head) for head in range(heads.shape[1])]
    if mlps is not None:
        values, columns = np.column_stack([heads, mlps]), [*columns, _MLP]
    named = grid or node_grid(f"a{layer}" for layer in range(len(values)))
    rows = named.labels
    figure = go.Figure(_cells(values, columns, rows, unit, _limit(heads, limit), hover))
    if unclear is not None:
        figure.add_trace(_crosses(unclear, columns, rows))
    _lay_out(figure, title, (named.across, named.up), columns, rows)
    return figure


def effects_heatmap(
    effects: "Effects", resamples: Resamples | None = None, limit: float | None = None
) -> go.Figure:
    """Heatmap of the mean effects of all heads, MLPs and layers that were patched.

    Raises:
        DataError: If neither heads, MLPs nor layers were patched.
    """
    summary = effects.summary(resamples)
    grid = node_grid(effects.nodes)
    if not grid.places:
        raise DataError(f"None of {', '.join(effects.nodes)} has a layer, so there is no heatmap.")
    names, rows = grid.columns, grid.labels
    shape = (len(rows), len(names))
    values, unclear = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    hover = [[""] * len(names) for _ in rows]
    for i, node in enumerate(effects.nodes):
        if node not in grid.places:
            continue
        place = row, column = grid.places[node]
        values[place], unclear[place] = summary.mean[i], summary.reaches_zero[i]
        hover[row][column] = (
            f"{node}: {summary.mean[i]:.4f} [{summary.low[i]:.4f}, {summary.high[i]:.4f}], "
            f"q = {summary.q[i]:.3f}"
        )
    of_heads = [place for place, name in enumerate(names) if name != _MLP]
    end = _limit(values[:, of_heads] if of_heads else values, limit)
    figure = go.Figure(_cells(values, names, rows, effects.unit, end, hover))
    figure.add_trace(_crosses(unclear, names, rows))
    _lay_out(figure, _title(effects, summary.n), (grid.across, grid.up), names, rows)
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
    rows = [str(layer) for layer in range(len(values))]
    figure = go.Figure(_cells(values, columns, rows, effects.unit, _limit(values, limit), None))
    title = (
        f"{effects.model}: {effects.contrast} contrast, {effects.site} patched at one word<br>"
        f"<sup>{effects.direction}, effect in {effects.unit}, mean of {len(pairs)} of "
        f"{len(effects)} pairs</sup>"
    )
    _lay_out(figure, title, ("word", "layer"), columns, rows)
    return figure


def _cells(
    values: Float[np.ndarray, "row column"],
    columns: Sequence[str],
    rows: Sequence[str],
    unit: str,
    end: float,
    hover: Sequence[Sequence[str]] | None,
) -> go.Heatmap:
    return go.Heatmap(
        z=values,
        x=list(columns),
        y=list(rows),
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


def _crosses(
    unclear: Bool[np.ndarray, "row column"], columns: Sequence[str], rows: Sequence[str]
) -> go.Scatter:
    heights, places = (found.tolist() for found in np.nonzero(unclear))
    return go.Scatter(
        x=[columns[place] for place in places],
        y=[rows[height] for height in heights],
        mode="markers",
        marker={"symbol": "x-thin-open", "size": 7, "color": "rgba(90, 90, 90, 0.8)"},
        name="interval reaches zero",
        hoverinfo="skip",
    )


def _lay_out(
    figure: go.Figure,
    title: str,
    axes: tuple[str, str],
    columns: Sequence[str],
    rows: Sequence[str],
) -> None:
    axis = {"type": "category", "showgrid": False, "zeroline": False}
    figure.update_layout(
        title={"text": title},
        xaxis={**axis, "title": {"text": axes[0]}, "categoryarray": list(columns)},
        yaxis={**axis, "title": {"text": axes[1]}, "categoryarray": list(rows)},
        width=max(420, _CELL * len(columns) + 2 * _MARGIN),
        height=max(320, _CELL * len(rows) + _MARGIN + 40),
        plot_bgcolor="white",
        legend={"orientation": "h", "y": -0.25},
    )


def _place(name: str) -> tuple[str, str] | None:
    """Row and column of a node, by name."""
    node = Node.parse(name)
    if node.kind == "head":
        return node.row, str(node.head)
    if node.kind == "heads":
        return name, _ALL_GROUPS if node.stack.startswith("s") else _ALL
    if node.kind == "mlp":
        stack = "dec.x" if node.stack == "dec" else node.stack
        return str(Node("heads", node.layer, stack=stack)), _MLP
    return None


def _order(row: str) -> tuple[str, int, int, bool]:
    """Rows as they run: encoder before decoder, stage by stage, self- before cross-attention."""
    node = Node.parse(row)
    base = own_stack(node.stack)
    return (
        "" if base == "enc" else base.rstrip("0123456789"),
        int(base[1:]) if base[1:].isdecimal() else 0,
        node.layer or 0,
        base != node.stack,
    )


def _column_order(column: str) -> tuple[int, int]:
    return (0, int(column)) if column.isdecimal() else (1 + (column == _MLP), 0)


def _title(effects: "Effects", n: int) -> str:
    what = "" if effects.what == "outputs" else f", {effects.what}"
    return (
        f"{effects.model}: {effects.contrast} contrast, {effects.method}{what}<br>"
        f"<sup>{effects.direction}, effect in {effects.unit}, n = {n} units</sup>"
    )
