"""`Effects`: the effect of every node on every pair, and what can be said of them.

A result is one number per pair and node, never an average: averages, intervals and differences of
two models are taken later, over units of resampling, on the same pairs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Contrast
from behavior.resampling import Resamples
from patching.files import read_record, write_record
from patching.models.nodes import Node, NodeKind, own_stack
from patching.summary import EffectSummary, pair_table, summarise

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Direction = Literal["noise", "denoise"]
"""Noise: a corrupted value goes into the clean run. Denoise: a clean one into the corrupted run."""

_FILE = "effects.safetensors"


@dataclass(frozen=True, slots=True)
class Effects:
    """Effect of each node on each pair, in logits; positive where the node carries the contrast.

    Attributes:
        values: [pair, node] effects; float32, or float64 from a model opened in float64.
        nodes: [node] names.
        clean: [pair] margins of the clean run, in logits.
        corrupted: [pair] margins of the corrupted run, in logits.
        units: [pair] unit of resampling.
        templates: [pair] cluster of the unit; empty strings if none.
        steps: [pair] the cells, such as `A->C`; empty strings if the pairs came without quads.
        contrast: What differs between clean and corrupted.
        direction: `noise` (corrupted into clean) or `denoise` (clean into corrupted).
        method: `activation patching` (exact) or `attribution patching` (first order).
        what: What of a node was patched: its `outputs`, or all `heads`, the `patterns` or the
            `values` of a layer.
        model: Name of the model.
        readout: How classes became labels; see `Readout.describe`.
        unit: Of values and margins.
    """

    values: Float[Tensor, "pair node"]
    nodes: tuple[str, ...]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    units: tuple[str, ...]
    templates: tuple[str, ...]
    steps: tuple[str, ...]
    contrast: Contrast
    direction: Direction
    method: str
    what: str = "outputs"
    model: str = ""
    readout: Mapping[str, object] = field(default_factory=dict[str, object])
    unit: str = "logits"

    def __post_init__(self) -> None:
        n_pairs, n_nodes = self.values.shape
        lengths = {len(getattr(self, name)) for name in (*_PER_PAIR, "clean", "corrupted")}
        if lengths != {n_pairs} or len(self.nodes) != n_nodes:
            raise DataError(
                f"Effects of {n_pairs} pairs and {n_nodes} nodes need as many names, margins, "
                f"units, templates and steps; got {len(self.nodes)} nodes and {sorted(lengths)}."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def rows(self) -> tuple[str, ...]:
        """[row] names of the rows of `heads`, such as `a0`, `dec.x1` or `s0.b1`."""
        return tuple(dict.fromkeys(node.row for node in self._ordered("head")))

    @property
    def heads(self) -> Float[Tensor, "pair row head"]:
        """Effects of single heads; of an encoder-decoder the encoder's rows come first.

        Raises:
            DataError: If not every head of every row was patched.
        """
        columns = self._ordered("head")
        n_rows, n_heads = len(self.rows), len(columns) // len(self.rows)
        found = [(node.row, node.head) for node in columns]
        expected = [(row, head) for row in self.rows for head in range(n_heads)]
        if found != expected or not _contiguous(columns):
            raise DataError("Some heads were not patched, so there is no [layer, head] array.")
        chosen = list(columns.values())
        return rearrange(self.values[:, chosen], "pair (row head) -> pair row head", row=n_rows)

    @property
    def mlps(self) -> Float[Tensor, "pair mlp"]:
        """Effects of MLPs, in the order of their rows.

        Raises:
            DataError: If not every MLP was patched.
        """
        return self._by_row("mlp")

    @property
    def layers(self) -> Float[Tensor, "pair row"]:
        """Effects of all heads of a row together.

        Raises:
            DataError: If not every row was patched.
        """
        return self._by_row("heads")

    def node(self, name: str) -> Float[Tensor, " pair"]:
        """Effects of one node.

        Raises:
            DataError: If it was not patched.
        """
        if name not in self.nodes:
            raise DataError(f"{name!r} was not patched; there are: {', '.join(self.nodes)}.")
        return self.values[:, self.nodes.index(name)]

    def summary(self, resamples: Resamples | None = None) -> EffectSummary:
        """Mean, interval, p and q of every node over units of resampling.

        Args:
            resamples: Shared with other statistics of a comparison; drawn here if missing.
        """
        return summarise(self.values, self.nodes, self.units, self.templates, resamples)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each pair and node."""
        n_pairs, n_nodes = self.values.shape
        parsed = [Node.parse(name) for name in self.nodes]
        return pair_table(self, n_nodes).assign(
            node=list(self.nodes) * n_pairs,
            layer=pd.array([node.layer for node in parsed] * n_pairs, dtype="Int64"),
            head=pd.array([node.head for node in parsed] * n_pairs, dtype="Int64"),
            effect=self.values.flatten().tolist(),
        )

    def figure(self, resamples: Resamples | None = None, limit: float | None = None) -> "Figure":
        """Heatmap of the mean effects, layer 0 at the bottom, an MLP column if there are MLPs.

        Args:
            resamples: As in `summary`.
            limit: End of the colour range; by default the largest mean of a head or layer.
        """
        from patching.heatmap import effects_heatmap  # noqa: PLC0415  (plotly is slow to import)

        return effects_heatmap(self, resamples, limit)

    def save(self, path: Path | str) -> Path:
        """Write one safetensors file, with everything else as JSON in its header.

        Args:
            path: The file (`*.safetensors`), or a folder that gets `effects.safetensors`.

        Returns:
            The file.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_record(self, _file(path), "effects")

    @classmethod
    def load(cls, path: Path | str) -> "Effects":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or is no stored effects.
        """
        return read_record(cls, _file(path), "effects")

    def _by_row(self, kind: NodeKind) -> Float[Tensor, "pair row"]:
        columns = self._ordered(kind)
        if not _contiguous(columns):
            names = ", ".join(map(str, columns))
            raise DataError(f"Of {kind}, only {names} were patched. Patch all of them.")
        return self.values[:, list(columns.values())]

    def _ordered(self, kind: NodeKind) -> dict[Node, int]:
        """Columns of all nodes of one kind, in the order in which they run."""
        parsed = {Node.parse(name): i for i, name in enumerate(self.nodes)}
        found = {node: i for node, i in parsed.items() if node.kind == kind}
        if not found:
            raise DataError(f"No {kind} was patched; there are: {', '.join(self.nodes)}.")
        stacks = list(dict.fromkeys(own_stack(node.stack) for node in found))

        def place(node: Node) -> tuple[int, int, str, int]:
            return stacks.index(own_stack(node.stack)), node.layer or 0, node.stack, node.head or 0

        return {node: found[node] for node in sorted(found, key=place)}


def _contiguous(nodes: Iterable[Node]) -> bool:
    """Whether each stack has its layers from 0 on, none left out."""
    layers: dict[str, set[int]] = {}
    for node in nodes:
        layers.setdefault(node.stack, set()).add(node.layer or 0)
    return all(found == set(range(len(found))) for found in layers.values())


_PER_PAIR = ("units", "templates", "steps")


def _file(path: Path | str) -> Path:
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / _FILE
