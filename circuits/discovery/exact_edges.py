"""Exact edge patching: each edge alone carries the other run's value, and the rest runs on from it.

For each edge u -> v the reader v sees the stream in which u alone counts as in the run that values
come from, with every norm and ReLU on the way formed anew; everything after v is run again.

    noise:    margin(clean) - margin(clean run without this edge)
    denoise:  margin(corrupted run with this edge alone restored) - margin(corrupted)

No gradients are taken, and norms are live. One forward from the reader's row on for each edge:
exact for each edge alone, blind to what edges do together, and slow. Runs are stacked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import BothRuns, EdgeRunner, Side
from circuits.discovery.scores import EdgeScores
from circuits.graph import Point
from circuits.live import Mixer
from circuits.weights import hidden_channels, project_heads, run_mlp
from patching.effects import Direction
from patching.models.attention import AttentionCall, intercepted
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from patching.runs import Progress
from patching.suffix import Suffix, open_suffix

_MOST_COPIES = 64


def score(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EdgeScores:
    """Effects of all edges, in logits; progress is told the runs that are done, and of all."""
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size)
    total, done = len(pairs) * len(runner.graph), 0

    def estimate(both: BothRuns) -> Float[Tensor, "batch edge"]:
        nonlocal done
        columns: list[Tensor] = []
        for column in _patched_margins(runner, both):
            columns.append(column)
            done += column.numel()
            if progress is not None:
                progress(done, total)
        change = both.target.margins - torch.cat(columns)
        return (change if direction == "noise" else -change).T

    return runner.score(estimate, "exact_edges")


def _patched_margins(runner: EdgeRunner, both: BothRuns) -> Iterator[Float[Tensor, "edge batch"]]:
    """Margins under each edge's patch, in the order of the edges."""
    model = runner.model
    mixer = Mixer(model, runner.graph, both.target.cache, both.source.cache)
    mixer.take_from_here()
    readers = _Readers(mixer, _calls(model, both.target))
    lengths = [max(runner.runner.lengths[i] for i in both.pairs)] * (64 * len(both.pairs))
    copies = min(_MOST_COPIES, max(1, len(model.chunks(lengths)[0]) // len(both.pairs)))
    stacked = _stacked(runner, both.target, copies)
    rows = both.pairs * copies
    with torch.no_grad(), open_suffix(model, stacked.batch, stacked.cache) as suffix:
        for point in runner.graph.points:
            given = readers.what_they_write(point)
            for some in given.split(copies):
                short = copies - len(some)
                # A short stack is filled up, because the recorded run has a fixed size.
                full = torch.cat([some, some[-1:].expand(short, *some.shape[1:])])
                logits = _run_on(suffix, mixer, point, rearrange(full, "n b p m -> (n b) p m"))
                margins = runner.runner.margins(logits, rows).view(copies, -1)
                yield margins[: len(some)]


class _Readers:
    """What the readers of a point make of streams in which one writer is exchanged."""

    def __init__(self, mixer: Mixer, calls: Mapping[nn.Module, AttentionCall]) -> None:
        self.mixer = mixer
        self.calls = calls

    def what_they_write(self, point: Point) -> Float[Tensor, "edge batch pos d_model"]:
        """What the row's heads or MLP write, or the last stream, edge by edge."""
        mixer = self.mixer
        masks = torch.eye(len(point.writers), dtype=mixer.model.dtype, device=mixer.model.device)
        streams = mixer.streams(point, masks)
        if point.row is None:
            return streams
        row = mixer.rows[point.row]
        if point.kind == "mlp":
            return torch.stack([run_mlp(row, stream) for stream in streams])
        there = mixer.there[row.site("attn_out")]
        by_writer = [self._heads(point, row, stream) for stream in streams]
        return rearrange(torch.stack(by_writer, dim=1), "r w b p m -> (r w) b p m") + there

    def _heads(
        self, point: Point, row: LayerModules, stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "reader batch from d_out"]:
        """What each reader's head writes more, if that reader alone sees this stream."""
        if row.is_image:
            hidden = hidden_channels(row, self.mixer.image(self.mixer.rows.index(row), stream))
            z = rearrange(hidden, "b (head d) h w -> b (h w) head d", head=row.n_heads)
            return self.mixer.written(row, z)
        crosses = row.stack.endswith(".x")
        parts = ("k", "v") if point.kind == "cross" else ("q",) if crosses else ("q", "k", "v")
        return torch.cat([self.mixer.written(row, self._attend(row, p, stream)) for p in parts])

    def _attend(self, row: LayerModules, part: str, stream: Tensor) -> Tensor:
        given = project_heads(row, part, stream.expand(row.n_heads, *stream.shape))
        call = self.calls[row.attention]
        exchanged = {
            "q": partial(replace, call, query=given),
            "k": partial(replace, call, key=given),
            "v": partial(replace, call, value=given),
        }
        return exchanged[part]().run()


def _run_on(suffix: Suffix, mixer: Mixer, point: Point, written: Tensor) -> Tensor:
    if point.row is None:
        return suffix.leaving(len(mixer.rows) - 1, written)
    if point.kind == "mlp":
        return suffix.from_mlp(point.row, written)
    return suffix.from_attention(point.row, written)


def _calls(model: PatchableModel, side: Side) -> dict[nn.Module, AttentionCall]:
    calls: dict[nn.Module, AttentionCall] = {}

    def keep(call: AttentionCall) -> Tensor:
        calls[call.module] = call
        return call.run()

    handlers = {row.attention: keep for row in model.modules.layers if row.has("pattern")}
    with intercepted(model.hf, handlers):
        model.forward(side.batch)
    return calls


def _stacked(runner: EdgeRunner, side: Side, copies: int) -> Side:
    """A run with its pairs several times one after the other."""
    batch = {name: repeat(v, "b ... -> (n b) ...", n=copies) for name, v in side.batch.items()}
    with runner.model.hooks.reading(runner.sites, frames=True) as values:
        runner.model.forward(batch)
    return Side(batch, side.margins.repeat(copies), ActivationCache(values, values.frames))
