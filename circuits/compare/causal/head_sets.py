"""A model's answers to quads while a set of heads says nothing of the input.

The z of each head in the set is replaced by its mean over the four cells of the quad, as in
`patching.ablation`, so that neither core nor shortcut passes through it, while everything that the
four cells share (template, nouns) stays.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from behavior.answers import QuadAnswers
from behavior.examples import CELLS, Quad
from behavior.inputs import Input
from behavior.readout import Readout
from patching.models.model import PatchableModel
from patching.models.nodes import Site

HeadSet = tuple[str, ...]
"""Names of heads, in the order of the model."""

Progress = Callable[[int, int], None]

_N_CELLS = len(CELLS)


class HeadSets:
    """Runs quads with sets of heads ablated.

    Attributes:
        model: The model; plain hooks are used whatever its backend.
        quads: Aligned quads.
    """

    def __init__(
        self,
        model: PatchableModel,
        readout: Readout,
        quads: Sequence[Quad[Input]],
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.quads = tuple(quads)
        self._readout = readout
        self._rows = model.encode([quad.cell(cell) for quad in quads for cell in CELLS])
        self._batch_size = batch_size

    def answers(
        self, sets: Sequence[HeadSet], progress: Progress | None = None
    ) -> list[QuadAnswers]:
        """Answers with each set ablated; the empty set is the model as it is.

        Args:
            sets: Heads that say nothing, together.
            progress: Called after each batch with runs done, and of all.

        Raises:
            DataError: If the model has no such head.
        """
        sites = [_by_site(self.model, heads) for heads in sets]
        needed = sorted({site for one in sites for site in one})
        logits = torch.empty(len(sets), len(self._rows), self.model.spec.n_classes)
        chunks = self._chunks()
        for done, chunk in enumerate(chunks):
            batch = self.model.encoder.batch([self._rows[i] for i in chunk])
            means = self._cell_means(batch, needed)
            for place, one in enumerate(sites):
                edits = {site: partial(_replace, heads, means[site]) for site, heads in one.items()}
                with self.model.hooks.editing(edits):
                    logits[place, chunk] = self.model.forward(batch).float().cpu()
                if progress is not None:
                    progress(done * len(sets) + place + 1, len(chunks) * len(sets))
        return [self._as_answers(each) for each in logits]

    def _cell_means(self, batch: dict[str, Tensor], sites: Sequence[Site]) -> dict[Site, Tensor]:
        with self.model.hooks.reading(sites) as values:
            self.model.forward(batch)
        return {site: _cell_mean(values[site]) for site in sites}

    def _chunks(self) -> list[list[int]]:
        """The cells of a quad stay together."""
        lengths = [len(row) for row in self._rows[::_N_CELLS]]
        fewer = None if self._batch_size is None else max(self._batch_size // _N_CELLS, 1)
        return [
            [_N_CELLS * quad + cell for quad in chunk for cell in range(_N_CELLS)]
            for chunk in self.model.chunks(lengths, fewer)
        ]

    def _as_answers(self, logits: Float[Tensor, "row n_classes"]) -> QuadAnswers:
        task = rearrange(self._readout.task_logits(logits), "(q c) label -> c q label", c=_N_CELLS)
        return QuadAnswers(
            logits=dict(zip(CELLS, task, strict=True)),
            label=self._readout.index([quad.label for quad in self.quads]),
            foil=self._readout.index([quad.foil for quad in self.quads]),
            units=tuple(quad.id for quad in self.quads),
            templates=tuple(quad.template for quad in self.quads),
        )


def _by_site(model: PatchableModel, heads: HeadSet) -> dict[Site, list[int]]:
    found: dict[Site, list[int]] = {}
    for name in heads:
        site = model.site(name)
        found.setdefault(site.whole, []).append(site.head or 0)
    return found


def _replace(heads: list[int], mean: Tensor, current: Tensor) -> Tensor:
    changed = current.clone()
    changed[:, :, heads] = mean[:, :, heads]
    return changed


def _cell_mean(z: Float[Tensor, "row pos head d_head"]) -> Float[Tensor, "row pos head d_head"]:
    mean = reduce(z, "(q c) ... -> q 1 ...", "mean", c=_N_CELLS)
    return rearrange(mean.expand(-1, _N_CELLS, *z.shape[1:]), "q c ... -> (q c) ...")
