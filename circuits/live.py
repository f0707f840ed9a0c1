"""Runs a circuit alone, live: every reader sees the mixture of its own writers.

An edge in the circuit carries what its writer makes *in the circuit*; any other edge carries what
the writer made in the corrupted run. Each reader's stream is formed anew from this mixture, with
every norm and every ReLU on the way, so that

    all edges kept = the clean run,    no edge kept = the corrupted run,

exactly. Readers of one point with the same edges share their stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from circuits.graph import PARTS, Graph, Point, point_of
from circuits.weights import hidden_channels, project_heads, run_mlp
from patching.models.attention import AttentionCall, intercepted
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.rows import LayerModules
from patching.suffix import Suffix, open_suffix


@dataclass(frozen=True, slots=True)
class LivePair:
    """Both runs of a batch of pairs, and the attention calls of one of them.

    Attributes:
        batch: Keyword arguments of the clean run.
        clean: Recorded at `circuits.stream.flow_sites`.
        corrupted: Likewise.
        calls: By attention module; queries, keys and values are replaced, the rest is used.
    """

    batch: Mapping[str, Tensor]
    clean: ActivationCache
    corrupted: ActivationCache
    calls: Mapping[nn.Module, AttentionCall]


def record_pair(
    model: PatchableModel,
    sites: Sequence[Site],
    clean: Mapping[str, Tensor],
    corrupted: Mapping[str, Tensor],
) -> LivePair:
    """Run both inputs of a batch of pairs and keep what a circuit needs."""
    calls: dict[nn.Module, AttentionCall] = {}

    def keep(call: AttentionCall) -> Tensor:
        calls[call.module] = call
        return call.run()

    handlers = {row.attention: keep for row in model.modules.layers if row.has("pattern")}
    with model.hooks.reading(sites) as other:
        model.forward(corrupted)
    with intercepted(model.hf, handlers), model.hooks.reading(sites, frames=True) as values:
        model.forward(clean)
    frames = values.frames
    return LivePair(clean, ActivationCache(values, frames), ActivationCache(other, frames), calls)


def run_circuit(
    model: PatchableModel, graph: Graph, pair: LivePair, mask: Bool[Tensor, "reader writer"]
) -> Float[Tensor, "batch n_classes"]:
    """Logits of the pairs' clean inputs when only the edges of the mask carry them.

    Args:
        model: The model.
        graph: Of it.
        pair: Both runs.
        mask: Edges that are kept.
    """
    with torch.no_grad(), open_suffix(model, pair.batch, pair.clean, shortcut=False) as suffix:
        return _Circuit(model, graph, pair, mask.to(model.device, model.dtype), suffix).logits()


def run_shares(
    model: PatchableModel,
    graph: Graph,
    pair: LivePair,
    shares: Float[Tensor, "reader writer *batch"],
) -> Float[Tensor, "batch n_classes"]:
    """As `run_circuit`, where every edge carries a share of its writer; with gradients.

    An edge gives `corrupted + share * (here - corrupted)`. Every reader has a stream of its own, so
    that the gradient reaches each share.

    Args:
        model: The model.
        graph: Of it.
        pair: Both runs.
        shares: From 0 (the corrupted value) to 1 (the circuit's own), of all pairs or of each.
    """
    given = shares.to(model.device, model.dtype)
    opened = open_suffix(model, pair.batch, pair.clean, shortcut=False, gradients=True)
    with torch.enable_grad(), opened as suffix:
        return _Circuit(model, graph, pair, given, suffix, apart=True).logits()


class Mixer:
    """Forms streams in which some writers count as in one run and the others as in another.

    Args:
        model: The model.
        graph: Of it.
        there: The run that the others come from.
        here: Gives the embeddings, and the sizes of images.
    """

    def __init__(
        self, model: PatchableModel, graph: Graph, there: ActivationCache, here: ActivationCache
    ) -> None:
        self.model = model
        self.graph = graph
        self.there = there
        self.here = here
        self.rows = model.modules.layers
        self.layout = model.architecture.layout
        self.heads: dict[int, Tensor] = {}
        self.mlps: dict[int, Tensor] = {}

    def take_from_here(self) -> None:
        """Let every writer write what it wrote in the run `here`."""
        for i, row in enumerate(self.rows):
            self.heads[i] = self.written(row, self.here[row.site("z")])
            if row.mlp is not None:
                self.mlps[i] = self.here[row.site("mlp_out")] - self.there[row.site("mlp_out")]

    def written(
        self, row: LayerModules, z: Float[Tensor, "batch pos head d_head"]
    ) -> Float[Tensor, "head batch pos d_model"]:
        """What each head writes more than it wrote there."""
        moved = rearrange(z - self.there[row.site("z")], "b pos head d -> b pos (head d)")
        shape = self.here.frames[row.attention].shape if row.is_image else None
        return rearrange(row.results(moved, shape), "b pos head d -> head b pos d")

    def streams(
        self, point: Point, masks: Float[Tensor, "n writer"] | Float[Tensor, "n writer batch"]
    ) -> Float[Tensor, "n batch pos d_model"]:
        """What the readers of a point see, for each set of writers that count as here."""
        end = len(self.rows) if point.row is None else point.row
        if point.kind == "cross":
            end = next(i for i, row in enumerate(self.rows) if row.enters and i > 0)
        first = max(i for i, row in enumerate(self.rows[: max(end, 1)]) if row.enters)
        if point.kind != "cross" and point.row is not None and self.rows[point.row].enters:
            first = point.row
        each = masks if masks.ndim == 3 else masks[..., None]
        stream = self._mix(first, end, each, mid=point.kind == "mlp")
        if point.kind == "cross":
            return self.model.modules.final_norms[self.rows[first].stack](stream)
        if self.layout == "pre-norm" and point.row is not None:
            row = self.rows[point.row]
            norm = row.norm if point.kind == "heads" else row.mlp_norm
            assert norm is not None, "pre-norm rows declare their norms"
            stream = norm(stream)
        return stream

    def _mix(
        self, first: int, end: int, masks: Float[Tensor, "n writer pairs"], *, mid: bool
    ) -> Float[Tensor, "n batch pos d_model"]:
        """The stream before row `end`, or after its heads, for each set of kept writers."""
        entry = self.rows[first].site("resid_pre")
        there, here = self.there[entry], self.here[entry]
        stream = there + masks[:, 0, :, None, None] * (here - there)
        column = 1
        for i in range(first, end + mid):
            row = self.rows[i]
            kept = masks[:, column : column + row.n_heads]
            column += row.n_heads
            stream = self._after_heads(i, stream, kept)
            if row.mlp is not None and not (mid and i == end):
                stream = self._after_mlp(i, stream, masks[:, column])
                column += 1
        return stream

    def _after_heads(self, i: int, stream: Tensor, kept: Float[Tensor, "n head pairs"]) -> Tensor:
        row = self.rows[i]
        moved = einsum(kept, self.heads[i], "n head b, head b pos model -> n b pos model")
        written = self.there[row.site("attn_out")] + moved
        if not row.is_image:
            total = stream + written
            return row.norm(total) if self.layout == "post-norm" else total
        shortcut, activation = row.shortcut or nn.Identity(), row.activation or nn.Identity()
        beside = [rearrange(shortcut(self.image(i, one)), "b c h w -> b (h w) c") for one in stream]
        return activation(torch.stack(beside) + written)

    def _after_mlp(self, i: int, stream: Tensor, kept: Float[Tensor, "n pairs"]) -> Tensor:
        row = self.rows[i]
        there = self.there[row.site("mlp_out")]
        total = stream + there + kept[..., None, None] * self.mlps[i]
        if self.layout != "post-norm":
            return total
        assert row.mlp_norm is not None, "post-norm rows declare both norms"
        return row.mlp_norm(total)

    def image(self, i: int, stream: Float[Tensor, "batch pos d_model"]) -> Tensor:
        """The stream before row `i` as an image."""
        embedding = next(iter(self.model.modules.embeddings.values()))
        before = self.rows[i - 1].leave if i else embedding
        height, width = self.here.frames[before].shape[2:]
        return rearrange(stream, "b (h w) c -> b c h w", h=height, w=width)


class _Circuit(Mixer):
    """One run. `heads` and `mlps` hold what is written here minus what was written there."""

    def __init__(
        self,
        model: PatchableModel,
        graph: Graph,
        pair: LivePair,
        mask: Float[Tensor, "reader writer *batch"],
        suffix: Suffix,
        *,
        apart: bool = False,
    ) -> None:
        super().__init__(model, graph, pair.corrupted, pair.clean)
        self.pair = pair
        self.mask = mask
        self.suffix = suffix
        self.apart = apart

    def logits(self) -> Float[Tensor, "batch n_classes"]:
        for i, row in enumerate(self.rows):
            self.heads[i] = self._written_by_heads(i, row)
            if row.mlp is not None:
                (stream,), _ = self._streams(point_of(self.graph, i, "mlp"))
                made = run_mlp(row, stream)
                self.mlps[i] = made - self.there[row.site("mlp_out")]
        (stream,), _ = self._streams(point_of(self.graph, None, "logits"))
        return self.suffix.leaving(len(self.rows) - 1, stream)

    def _written_by_heads(
        self, i: int, row: LayerModules
    ) -> Float[Tensor, "head batch pos d_model"]:
        z = self._hidden(i, row) if row.is_image else self._attended(i, row)
        return self.written(row, rearrange(z, "b pos (head d) -> b pos head d", head=row.n_heads))

    def _attended(self, i: int, row: LayerModules) -> Float[Tensor, "batch pos d_z"]:
        streams, which = self._streams(point_of(self.graph, i, "heads"))
        parts = [streams[index] for index in which.split(row.n_heads)]
        if row.stack.endswith(".x"):
            streams, which = self._streams(point_of(self.graph, i, "cross"))
            parts += [streams[index] for index in which.split(row.n_heads)]
        query, key, value = (
            project_heads(row, part, given) for part, given in zip(PARTS, parts, strict=True)
        )
        call = self.pair.calls[row.attention]
        z = AttentionCall(
            call.module, query, key, value, call.mask, call.options, call.implementation
        ).run()
        return rearrange(z, "b pos head d -> b pos (head d)")

    def _hidden(self, i: int, row: LayerModules) -> Float[Tensor, "batch pos d_z"]:
        streams, which = self._streams(point_of(self.graph, i, "heads"))
        channels = [hidden_channels(row, self.image(i, stream)) for stream in streams]
        groups = [channels[int(index)][:, row.columns(head)] for head, index in enumerate(which)]
        return rearrange(torch.cat(groups, dim=1), "b c h w -> b (h w) c")

    def _streams(self, point: Point) -> tuple[Float[Tensor, "n batch pos d_model"], Tensor]:
        """The different streams that the readers of a point see, and which is each reader's."""
        rows = self.mask[point.readers.start : point.readers.stop, list(point.writers)]
        masks, which = (
            (rows, torch.arange(len(rows), device=rows.device))
            if self.apart
            else torch.unique(rows, dim=0, return_inverse=True)
        )
        return self.streams(point, masks), which
