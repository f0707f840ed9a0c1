"""The graph of a model: who writes into its stream, who reads from it, and which edges there are.

Writers are the embeddings, each head (or group of channels) and each MLP. Readers are q, k and v of
each head, each group of channels, each MLP and the classifier. There is an edge from a writer to
every reader that comes after it in the same stream; k and v of cross-attention read the encoder.
Edges are named `a0.h1->a3.h5<q>`, `m0->m2`, `input->logits`.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from behavior.errors import DataError
from patching.models.model import PatchableModel
from patching.models.nodes import Node
from patching.models.rows import LayerModules

PARTS = ("q", "k", "v")


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a stream at which some readers read together, after all earlier writers.

    Attributes:
        readers: Their positions among the graph's readers, in order.
        writers: Positions of the writers that they can see, among the graph's writers.
        row: Position of the row that reads; None for the classifier.
        kind: What reads: the heads of a row (of cross-attention only q), an MLP, k and v of
            cross-attention, or the classifier.
    """

    readers: range
    writers: range
    row: int | None
    kind: str


@dataclass(frozen=True)
class Graph:
    """Writers, readers and edges of one model.

    Attributes:
        writers: Names, in the order in which they write, stream by stream.
        readers: Names, in the order in which they read.
        points: Where they read; every reader is at one point.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    points: tuple[Point, ...]

    def __len__(self) -> int:
        return len(self.edges)

    @cached_property
    def mask(self) -> Bool[Tensor, "reader writer"]:
        """Which edges there are."""
        found = torch.zeros(len(self.readers), len(self.writers), dtype=torch.bool)
        for point in self.points:
            found[point.readers.start : point.readers.stop, list(point.writers)] = True
        return found

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of all edges, reader by reader."""
        return tuple(
            f"{self.writers[writer]}->{self.readers[reader]}"
            for reader, writer in self.mask.nonzero().tolist()
        )

    @cached_property
    def position(self) -> dict[str, int]:
        """Position of each edge among `edges`."""
        return {name: i for i, name in enumerate(self.edges)}

    def edge_mask(self, kept: Bool[Tensor, " edge"]) -> Bool[Tensor, "reader writer"]:
        """Edges as a matrix.

        Raises:
            DataError: If there are not as many as the graph has.
        """
        if len(kept) != len(self):
            raise DataError(f"A circuit of {len(kept)} edges does not fit a graph of {len(self)}.")
        found = torch.zeros_like(self.mask)
        found[self.mask] = kept
        return found

    def kept(self, names: "set[str] | frozenset[str]") -> Bool[Tensor, " edge"]:
        """Which edges are among the named ones.

        Raises:
            DataError: If a name is no edge of this graph.
        """
        unknown = sorted(names - set(self.edges))
        if unknown:
            raise DataError(
                f"{unknown[0]!r} is no edge of this model ({len(unknown)} such in all). Edges look "
                f"like {self.edges[0]!r}."
            )
        return torch.tensor([name in names for name in self.edges])

    @classmethod
    def of(cls, model: PatchableModel) -> "Graph":
        """The graph of a model."""
        return _Builder(model).graph()


def reader_node(name: str) -> str:
    """The node that a reader belongs to: `a3.h5` for `a3.h5<q>`."""
    return name.partition("<")[0]


class _Builder:
    def __init__(self, model: PatchableModel) -> None:
        self.model = model
        self.writers: list[str] = []
        self.readers: list[str] = []
        self.points: list[Point] = []
        self.first = 0

    def graph(self) -> Graph:
        encoder = range(0)
        for i, row in enumerate(self.model.modules.layers):
            if row.enters:
                encoder = range(self.first, len(self.writers))
                self.first = len(self.writers)
                self.writers.append(str(Node("input", stack=row.base)))
            self._read_heads(i, row, encoder)
            self.writers += map(str, row.heads)
            if row.mlp_node is not None:
                name = str(row.mlp_node)
                self._read([name], self._seen(), i, "mlp")
                self.writers.append(name)
        self._read(["logits"], self._seen(), None, "logits")
        return Graph(tuple(self.writers), tuple(self.readers), tuple(self.points))

    def _read_heads(self, i: int, row: LayerModules, encoder: range) -> None:
        heads = [str(head) for head in row.heads]
        if row.is_image:
            self._read(heads, self._seen(), i, "heads")
        elif row.stack.endswith(".x"):
            self._read([f"{head}<q>" for head in heads], self._seen(), i, "heads")
            names = [f"{head}<{part}>" for part in ("k", "v") for head in heads]
            self._read(names, encoder, i, "cross")
        else:
            names = [f"{head}<{part}>" for part in PARTS for head in heads]
            self._read(names, self._seen(), i, "heads")

    def _read(self, names: list[str], writers: range, row: int | None, kind: str) -> None:
        start = len(self.readers)
        self.readers += names
        self.points.append(Point(range(start, len(self.readers)), writers, row, kind))

    def _seen(self) -> range:
        return range(self.first, len(self.writers))


def point_of(graph: Graph, row: int | None, kind: str) -> Point:
    """The point at which a row, or the classifier, reads."""
    return next(point for point in graph.points if point.row == row and point.kind == kind)
