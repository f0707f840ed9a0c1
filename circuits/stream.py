"""Carries the changes of all writers along the streams of a model, between two runs.

Between a writer and a later reader lie transports: nothing but the reader's own norm in a pre-norm
transformer; a LayerNorm after each addition in a post-norm one; the ReLU and the shortcut's
convolution of each block in a ResNet. Changes pass through them by secants, so that at every point

    sum over the writers seen there of what their changes have become = the change of what is read,

exactly, and a writer that is the same in both runs contributes exactly zero. Changes are carried
row by row, all writers at once.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import Graph, Point, point_of
from circuits.secants import Secant, elementwise_secant, norm_secant
from patching.models.cache import ActivationCache
from patching.models.frames import Frame
from patching.models.model import PatchableModel
from patching.models.nodes import Activation, Site
from patching.models.projections import weight_of
from patching.models.rows import LayerModules

_BLOCK_BYTES = 2**19


MOST_BYTES = 128 * 2**20
"""Of the changes of all writers in one batch."""


@dataclass(frozen=True, slots=True)
class TwoRuns:
    """What two runs of the same aligned inputs recorded; see `flow_sites`.

    Attributes:
        first: Of the run that changes are counted from.
        second: Of the run that they lead to.
    """

    first: ActivationCache
    second: ActivationCache

    def change(self, site: Site) -> Tensor:
        """Second minus first."""
        return self.second[site] - self.first[site]

    def both(self, site: Site) -> tuple[Tensor, Tensor]:
        """First and second."""
        return self.first[site], self.second[site]

    @property
    def frames(self) -> Mapping[nn.Module, Frame]:
        """Of either run."""
        return self.first.frames


@dataclass(frozen=True, slots=True)
class Arrival:
    """The changes as one point's readers see them.

    Attributes:
        point: Where.
        changes: [writer, batch, pos, d_model] of the writers that the point sees, after the norm
            that its readers share, if they have one. Overwritten when the next arrival is asked
            for.
    """

    point: Point
    changes: Float[Tensor, "writer batch pos d_model"]


def flow_sites(model: PatchableModel) -> tuple[Site, ...]:
    """What has to be recorded of both runs."""
    names: tuple[Activation, ...] = ("resid_pre", "resid_post", "z", "attn_out", "mlp_out")
    rows = model.modules.layers
    return tuple(dict.fromkeys(row.site(name) for row in rows for name in names if row.has(name)))


def fitting_pairs(model: PatchableModel, graph: Graph, longest: int) -> int:
    """How many pairs of so many positions may run together while all changes are held at once."""
    first = model.modules.layers[0]
    width = weight_of(first.o).shape[0] if first.is_image else model.spec.d_model
    one = len(graph.writers) * longest * width * model.dtype.itemsize
    return max(1, MOST_BYTES // one)


def carry(model: PatchableModel, graph: Graph, runs: TwoRuns) -> Iterator[Arrival]:
    """The changes of all writers at every point of the graph, in order.

    Args:
        model: The model.
        graph: Of it.
        runs: Recorded at `flow_sites`.
    """
    return _Carrier(model, graph, runs).arrivals()


class _Carrier:
    def __init__(self, model: PatchableModel, graph: Graph, runs: TwoRuns) -> None:
        self.model = model
        self.graph = graph
        self.runs = runs
        self.layout = model.architecture.layout
        self.changes: Tensor = torch.empty(0)
        self._store: Tensor = torch.empty(0)
        self._normed: Tensor = torch.empty(0)

    def arrivals(self) -> Generator[Arrival, None, None]:
        rows = self.model.modules.layers
        encoded = self.changes
        for i, row in enumerate(rows):
            if row.enters:
                encoded = self._leave_stack(rows[i - 1]) if i else encoded
                self._enter(row)
            yield self._arrive(i, row, "heads")
            if row.stack.endswith(".x"):
                yield Arrival(point_of(self.graph, i, "cross"), encoded)
            self._write_heads(row)
            if row.mlp is not None:
                yield self._arrive(i, row, "mlp")
                self._write_mlp(row)
        yield Arrival(point_of(self.graph, None, "logits"), self.changes)

    def _arrive(self, i: int, row: LayerModules, kind: str) -> Arrival:
        point = point_of(self.graph, i, kind)
        if self.layout != "pre-norm":
            return Arrival(point, self.changes)
        norm = row.norm if kind == "heads" else row.mlp_norm
        assert norm is not None, "pre-norm rows declare their norms"
        streams = self.runs.both(row.site("resid_pre"))
        if kind == "mlp":
            written = self.runs.both(row.site("attn_out"))
            streams = (streams[0] + written[0], streams[1] + written[1])
        arrived = self._normed[: len(self.changes)]
        _in_blocks(norm_secant(norm, *streams), self.changes, arrived)
        return Arrival(point, arrived)

    def _enter(self, row: LayerModules) -> None:
        """Room for all writers of a stream, of which the embedding is the first."""
        change = self.runs.change(row.site("resid_pre"))
        if row.is_image:
            self.changes = change[None]
            return
        rows = self.model.modules.layers
        inside = [other for other in rows if other.base == row.base]
        n = 1 + sum(other.n_heads + (other.mlp is not None) for other in inside)
        self._store = change.new_empty(n, *change.shape)
        if self.layout != "post-norm":
            self._normed = torch.empty_like(self._store)
        self.changes = self._store[:0]
        self._append(change[None])

    def _append(self, written: Float[Tensor, "writer batch pos d_model"]) -> None:
        n = len(self.changes) + len(written)
        self._store[len(self.changes) : n] = written.detach()
        self.changes = self._store[:n]

    def _write_heads(self, row: LayerModules) -> None:
        shape = self.runs.frames[row.attention].shape if row.is_image else None
        z = rearrange(self.runs.change(row.site("z")), "b pos head d -> b pos (head d)")
        heads = rearrange(row.results(z, shape), "b pos head d -> head b pos d")
        if row.is_image:
            carried = torch.cat([self._through_shortcut(row), heads])
            self.changes = self._activation(row)(carried)
            return
        self._append(heads)
        if self.layout == "post-norm":
            (x0, x1), (o0, o1) = (self.runs.both(row.site(a)) for a in ("resid_pre", "attn_out"))
            _in_blocks(norm_secant(row.norm, x0 + o0, x1 + o1), self.changes, self.changes)

    def _write_mlp(self, row: LayerModules) -> None:
        self._append(self.runs.change(row.site("mlp_out"))[None])
        if self.layout != "post-norm":
            return
        assert row.mlp_norm is not None, "post-norm rows declare both norms"
        sums = [
            row.norm(run[row.site("resid_pre")] + run[row.site("attn_out")])
            + run[row.site("mlp_out")]
            for run in (self.runs.first, self.runs.second)
        ]
        _in_blocks(norm_secant(row.mlp_norm, *sums), self.changes, self.changes)

    def _leave_stack(self, last: LayerModules) -> Tensor:
        norm = self.model.modules.final_norms[last.stack]
        return norm_secant(norm, *self.runs.both(last.site("resid_post")))(self.changes)

    def _through_shortcut(self, row: LayerModules) -> Tensor:
        """A shortcut is linear but for its constant, which cancels in a change."""
        images = self._images(row, self.changes)
        zero = torch.zeros_like(images[:1])
        shortcut = row.shortcut or nn.Identity()
        out = shortcut(images) - shortcut(zero)
        n = len(self.changes)
        return rearrange(out, "(n b) c h w -> n b (h w) c", n=n)

    def _activation(self, row: LayerModules) -> Secant:
        sums = [self._sum(row, run) for run in (self.runs.first, self.runs.second)]
        return elementwise_secant(row.activation or nn.Identity(), *sums)

    def _sum(self, row: LayerModules, run: ActivationCache) -> Tensor:
        stream = self._images(row, run[row.site("resid_pre")][None])
        beside = (row.shortcut or nn.Identity())(stream)
        return rearrange(beside, "b c h w -> b (h w) c") + run[row.site("attn_out")]

    def _images(self, row: LayerModules, stream: Tensor) -> Tensor:
        height, width = self._size_before(row)
        return rearrange(stream, "n b (h w) c -> (n b) c h w", h=height, w=width)

    def _size_before(self, row: LayerModules) -> tuple[int, int]:
        rows, frames = self.model.modules.layers, self.runs.frames
        i = rows.index(row)
        before = rows[i - 1].leave if i else next(iter(self.model.modules.embeddings.values()))
        shape = frames[before].shape
        return shape[2], shape[3]


def _in_blocks(secant: Secant, changes: Tensor, out: Tensor) -> None:
    """Apply a secant to a few writers at a time, so that what it makes on the way stays cached."""
    size = max(1, _BLOCK_BYTES // (changes[:1].nbytes or 1))
    with torch.no_grad():
        for start in range(0, len(changes), size):
            out[start : start + size] = secant(changes[start : start + size])
