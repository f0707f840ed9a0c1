"""Runs pairs in chunks: both runs recorded, every node measured, one number for each pair.

Pairs are sorted by length and cut into chunks that fit the processor's cache; what is kept of a
chunk is dropped before the next, so memory does not grow with the number of pairs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout, margin, read_labels
from patching.alignment import encode_aligned
from patching.effects import Direction, Effects
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Activation, Site
from patching.models.shortcut import can_shorten, first_token_only

_ALL_TOKENS: frozenset[Activation] = frozenset(
    {"q", "k", "v", "pattern", "resid_mid", "resid_post"}
)
"""Of these, all positions of the last layer are needed wherever they are needed at all."""


Progress = Callable[[int, int], None]
"""Called with the number of pairs done, and of all pairs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of some pairs.

    Attributes:
        batch: Keyword arguments of the model.
        margins: Margin of each pair, in logits.
        cache: What was recorded.
        gradients: Of the margins at the same sites; None unless asked for.
    """

    batch: dict[str, Tensor]
    margins: Float[Tensor, " batch"]
    cache: ActivationCache
    gradients: ActivationCache | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Both runs of some pairs.

    Attributes:
        pairs: Positions of the pairs.
        target: The run that is patched into: clean for noise, corrupted for denoise.
        source: The run that values are taken from.
    """

    pairs: list[int]
    target: Run
    source: Run

    @property
    def n_positions(self) -> int:
        """Tokens of the longest pair."""
        return self.target.batch["input_ids"].shape[1]


@dataclass(frozen=True, slots=True)
class MeasuredPairs:
    """Effects and margins of all pairs, in logits.

    Attributes:
        values: [pair, column] effects.
        clean: [pair] margins of the clean run.
        corrupted: [pair] margins of the corrupted run.
    """

    values: Float[Tensor, "pair column"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]


Measure = Callable[[Chunk], Float[Tensor, "column batch"]]
"""Gives the margins of a chunk's target run under each patch."""


class PairRunner:
    """Runs the pairs of one experiment.

    Attributes:
        model: The model.
        pairs: Token-aligned pairs.
        direction: Which run is patched into which.
        readout: From the model's classes to labels and foils.
        lengths: Tokens of each pair.
    """

    def __init__(
        self,
        model: PatchableModel,
        pairs: Pairs[Input],
        direction: Direction,
        readout: Readout | None = None,
        collapse: Collapse = "logsumexp",
    ) -> None:
        if direction not in get_args(Direction):
            raise DataError(f"Unknown direction {direction!r}; expected 'noise' or 'denoise'.")
        if model.is_patched:
            raise DataError("Effects cannot be measured inside `with model.patch(...)`.")
        self.model = model
        self.pairs = pairs
        self.direction: Direction = direction
        self.readout = readout or _default_readout(model, pairs, collapse)
        self._labels = self.readout.index(pairs.labels)
        self._foils = self.readout.index(pairs.foils)
        self._clean, self._corrupted = encode_aligned(model, pairs)
        self.lengths = [len(row) for row in self._clean]
        self._entries = model.modules.entries

    def chunks(
        self,
        sites: Sequence[Site],
        *,
        gradients: bool = False,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Chunk]:
        """Both runs of all pairs, chunk by chunk.

        Args:
            sites: What to record of both runs.
            gradients: Whether to take gradients of the margins in the target run; both runs are
                then plain torch, whatever the model's backend.
            batch_size: Pairs in a chunk; None fits the processor's cache.
            progress: Called after each chunk.
        """
        done = 0
        into_clean = self.direction == "noise"
        plain = gradients or self.model.backend.name == "hooks"
        run = self.run if plain else self._run_elsewhere
        for positions in self.model.chunks(self.lengths, batch_size):
            source = run(positions, not into_clean, sites)
            run_target = self._run_with_gradients if gradients else run
            yield Chunk(positions, run_target(positions, into_clean, sites), source)
            done += len(positions)
            if progress is not None:
                progress(done, len(self.pairs))

    def measure(self, chunks: Iterable[Chunk], measure: Measure, n_columns: int) -> MeasuredPairs:
        """Effects of every column on all pairs.

        An effect is by how much a patch moves the margin foil-wards (noise) or label-wards
        (denoise).

        Args:
            chunks: Of this runner.
            measure: Gives the patched margins.
            n_columns: How many.
        """
        n_pairs, dtype = len(self.pairs), self.model.dtype
        values = torch.empty(n_pairs, n_columns, dtype=dtype)
        target, source = torch.empty(n_pairs, dtype=dtype), torch.empty(n_pairs, dtype=dtype)
        noise = self.direction == "noise"
        for chunk in chunks:
            rows, before = chunk.pairs, chunk.target.margins
            target[rows], source[rows] = before.cpu(), chunk.source.margins.cpu()
            after = measure(chunk)
            values[rows] = (before - after if noise else after - before).T.cpu()
        return MeasuredPairs(values, *((target, source) if noise else (source, target)))

    def effects(
        self,
        chunks: Iterable[Chunk],
        measure: Measure,
        nodes: Sequence[str],
        method: str,
        what: str,
    ) -> Effects:
        """`measure`, with a name for each column."""
        table = self.measure(chunks, measure, len(nodes))
        return Effects(
            values=table.values,
            nodes=tuple(nodes),
            clean=table.clean,
            corrupted=table.corrupted,
            units=self.pairs.units,
            templates=self.pairs.templates,
            steps=self.pairs.steps,
            contrast=self.pairs.contrast,
            direction=self.direction,
            method=method,
            what=what,
            model=self.model.name,
            readout=self.readout.describe(),
        )

    def margins(
        self, logits: Float[Tensor, "batch n_classes"], positions: Sequence[int]
    ) -> Float[Tensor, " batch"]:
        """Margins of some pairs, in logits, where the logits are."""
        return self.stacked_margins([logits], positions)[0]

    def stacked_margins(
        self, logits: Sequence[Float[Tensor, "batch n_classes"]], positions: Sequence[int]
    ) -> Float[Tensor, "column batch"]:
        """Margins of several runs of the same pairs."""
        labels, foils = (
            index[list(positions)].repeat(len(logits)).to(self.model.device)
            for index in (self._labels, self._foils)
        )
        margins = margin(self.readout.task_logits(torch.cat(list(logits))), labels, foils)
        return margins.view(len(logits), len(positions))

    def label_index(
        self, positions: Sequence[int]
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Positions of the labels and foils of some pairs among the readout's labels."""
        chosen = list(positions)
        return self._labels[chosen], self._foils[chosen]

    def batch(self, positions: Sequence[int], clean: bool) -> dict[str, Tensor]:
        """Keyword arguments of one run of some pairs."""
        rows = self._clean if clean else self._corrupted
        return self.model.encoder.batch([rows[i] for i in positions])

    def run(self, positions: list[int], clean: bool, sites: Sequence[Site]) -> Run:
        """One run of some pairs by plain torch, recorded at sites, without gradients."""
        batch = self.batch(positions, clean)
        reading = self.model.hooks.reading(sites, frames=True)
        with self._shortened(sites), reading as values:
            logits = self.model.forward(batch)
        cache = ActivationCache(values, values.frames)
        return Run(batch, self.margins(logits, positions), cache)

    def _shortened(self, sites: Sequence[Site]) -> AbstractContextManager[None]:
        """Leaves out rows of the last layer that nothing reads, if no site needs them."""
        needed = not _ALL_TOKENS.isdisjoint(site.activation for site in sites)
        if needed or not can_shorten(self.model):
            return nullcontext()
        return first_token_only(self.model)

    def _run_elsewhere(self, positions: list[int], clean: bool, sites: Sequence[Site]) -> Run:
        batch = self.batch(positions, clean)
        logits, values = self.model.backend.read(batch, sites)
        return Run(batch, self.margins(logits, positions), ActivationCache(values))

    def _run_with_gradients(self, positions: list[int], clean: bool, sites: Sequence[Site]) -> Run:
        batch = self.batch(positions, clean)
        hooks = self.model.hooks
        with (
            torch.enable_grad(),
            self._shortened(sites),
            hooks.editing({row.site("resid_pre"): _as_leaf for row in self._entries}),
            hooks.reading(sites) as values,
        ):
            margins = self.margins(self.model.call(batch), positions)
        slopes = torch.autograd.grad(margins.sum(), list(values.values()))
        gradients = ActivationCache(dict(zip(values, slopes, strict=True)))
        cache = ActivationCache({site: value.detach() for site, value in values.items()})
        return Run(batch, margins.detach(), cache, gradients)


def _as_leaf(embedding: Tensor) -> Tensor:
    """Gradients are wanted at activations: the graph starts at the stream, not at the weights."""
    return embedding.detach().requires_grad_()


def _default_readout(model: PatchableModel, pairs: Pairs[Input], collapse: Collapse) -> Readout:
    names = {name.casefold(): name for name in (*pairs.labels, *pairs.foils)}
    return read_labels(model.spec.classes, tuple(names.values()), collapse)
