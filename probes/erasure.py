"""Erasing a feature at a stage, and what the model then does: is what can be read also used?

1. On one half of the quads LEACE (Belrose et al. 2023, https://arxiv.org/abs/2306.03819; the
   package `concept-erasure`) finds the smallest affine map of a stage's mean stream after which
   no linear probe does better than chance. Erased is the core within each row (what it says in A
   against C, and in N against L: two concepts), or the shortcut over all cells.
2. On the other half the map is applied *live*, at every position of the stream at that stage, and
   the rest of the model runs on. A map of every position alike acts on their mean in the same way.
3. Beside it stand maps that erase as many random directions, drawn in the whitened stream.
4. Positive control: on the other half the probe finds the feature before, and not after.
5. Effects of core and shortcut are in probability of the label against the foil. What the erasure
   takes of the effect beyond the random ones decides (`probes.use`).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from behavior.examples import CELLS, Cell, Quad
from behavior.readout import Readout, margin
from patching.models.model import PatchableModel
from probes.linear import Question, probe_quads, quad_targets, right_answers
from probes.stream import Point

Concept = Literal["core", "shortcut"]

CONCEPTS: tuple[Concept, ...] = ("core", "shortcut")
QUESTIONS_OF: Mapping[Concept, tuple[Question, ...]] = {
    "core": ("core_AC", "core_NL"),
    "shortcut": ("shortcut",),
}
"""Probes that an erasure has to blind."""

_ROWS: tuple[tuple[Cell, Cell], ...] = (("A", "C"), ("N", "L"))
_LEAST_SINGULAR = 1e-4
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Eraser:
    """An affine map that takes some directions out of a stream.

    Attributes:
        left: What is taken out, by direction.
        right: How much of each direction a vector has.
        mean: Of the stream; it stays where it is.
    """

    left: Float[Tensor, "d rank"]
    right: Float[Tensor, "rank d"]
    mean: Float[Tensor, " d"]

    @property
    def rank(self) -> int:
        """Number of directions."""
        return self.left.shape[1]

    def __call__(self, stream: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """The stream without these directions, at every position alike."""
        left, right, mean = (each.to(stream) for each in (self.left, self.right, self.mean))
        return stream - ((stream - mean) @ right.T) @ left.T


def concept_targets(
    label: Int[np.ndarray, " quad"], foil: Int[np.ndarray, " quad"], concept: Concept
) -> Float[np.ndarray, "quad 4 k"]:
    """What is erased: the concept in each cell, the core in a column of its own for each row."""
    target = quad_targets(label, foil)[concept]
    if concept == "shortcut":
        return target
    rows = [np.array([cell in row for cell in CELLS])[None, :, None] for row in _ROWS]
    return np.concatenate([target * row for row in rows], axis=2)


def fit_eraser(
    features: Float[np.ndarray, "*row d"], targets: Float[np.ndarray, "*row k"]
) -> Eraser:
    """The LEACE map after which no affine probe of the features predicts the targets.

    Args:
        features: Vectors.
        targets: What must not be readable; at least one column.
    """
    x = torch.from_numpy(features.reshape(-1, features.shape[-1])).double()
    z = torch.from_numpy(targets.reshape(-1, targets.shape[-1])).double()
    # Held to the trace of the covariance, the map would no longer be a projection.
    found = _leace().fit(x, z, constrain_cov_trace=False, svd_tol=_LEAST_SINGULAR).eraser
    kept = found.proj_right.norm(dim=1) > 0
    assert found.bias is not None, "the map is affine"
    return Eraser(found.proj_left[:, kept], found.proj_right[kept], found.bias)


def random_eraser(
    features: Float[np.ndarray, "*row d"], rank: int, generator: np.random.Generator
) -> Eraser:
    """A map of the same kind that erases random directions of the whitened features."""
    x = features.reshape(-1, features.shape[-1]).astype(np.float64)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False)))
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    rank = min(rank, int(kept.sum()))
    return fit_eraser(x, (x - x.mean(axis=0)) @ whiten @ generator.normal(size=(kept.sum(), rank)))


def removed_variance(eraser: Eraser, features: Float[np.ndarray, "*row d"]) -> float:
    """Share of the features' variance that a map takes out; negative if it adds some."""
    x = torch.from_numpy(features.reshape(-1, features.shape[-1])).double()
    total = x.var(dim=0).sum()
    return float(1 - eraser(x).var(dim=0).sum() / total) if total > 0 else 0.0


def erased_margins(
    model: PatchableModel,
    quads: Sequence[Quad[Any]],
    readout: Readout,
    point: Point,
    eraser: Eraser | None,
    batch_size: int | None = None,
) -> Float[np.ndarray, "quad 4"]:
    """Margins of the four cells, in logits, with directions erased at a stage; None erases none.

    Raises:
        DataError: If an input is longer than the model takes.
    """
    inputs = [quad.cell(cell) for quad in quads for cell in CELLS]
    edits = {} if eraser is None else {point.site: partial(_erase, eraser)}
    with model.hooks.editing(edits):
        logits = readout.task_logits(model.logits(inputs, batch_size))
    label, foil = (
        readout.index(names).repeat_interleave(len(CELLS))
        for names in ([q.label for q in quads], [q.foil for q in quads])
    )
    return margin(logits, label, foil).reshape(len(quads), len(CELLS)).double().numpy()


def read_after(
    eraser: Eraser | None,
    features: Float[np.ndarray, "quad 4 d"],
    label: Int[np.ndarray, " quad"],
    foil: Int[np.ndarray, " quad"],
    tested: Bool[np.ndarray, " quad"],
    concept: Concept,
) -> Bool[np.ndarray, "tested answer"]:
    """Whether probes fitted on the other quads, and on what is left there, answer rightly."""
    left = features if eraser is None else _left_by(eraser, features)
    answers = probe_quads(left, label, foil, tested.astype(np.int64))
    hits = [right_answers(answers.margins(q), q)[tested] for q in QUESTIONS_OF[concept]]
    return np.concatenate(hits, axis=1)


def cue_effects(margins: Float[np.ndarray, "quad 4"]) -> dict[Concept, Float[np.ndarray, " quad"]]:
    """Effect of core and of shortcut on the probability of the label, of each quad."""
    a, n, c, ell = (1 / (1 + np.exp(-margins))).T
    return {"core": ((a - c) + (n - ell)) / 2, "shortcut": ((a - n) + (c - ell)) / 2}


def _left_by(
    eraser: Eraser, features: Float[np.ndarray, "quad 4 d"]
) -> Float[np.ndarray, "quad 4 d"]:
    """What a map leaves; a feature of which it leaves rounding alone is constant."""
    left = eraser(torch.from_numpy(features).double()).numpy()
    before, after = (each.std(axis=(0, 1)) for each in (features, left))
    return np.where(after > _ROUNDING * before, left, left.mean(axis=(0, 1)))


def _erase(eraser: Eraser, stream: Tensor) -> Tensor:
    return eraser(stream)


def _leace() -> Any:
    with warnings.catch_warnings():
        # The package compiles some functions by a way that torch has come to discourage.
        warnings.simplefilter("ignore", DeprecationWarning)
        from concept_erasure import LeaceFitter  # noqa: PLC0415
    return LeaceFitter
