"""Similarity of representations: unbiased minibatch CKA, stage by stage, of two models.

1. Linear CKA (Kornblith et al. 2019, https://arxiv.org/abs/1905.00414) of two sets of features of
   the same inputs: the cosine of their centred Gram matrices. It is 1 for a representation and
   itself, however rotated or scaled; 0 if nothing in one goes along with the other.
2. With the usual centring it is far above 0 for unrelated features wider than there are inputs. The
   U-centred Gram matrix (Song et al. 2012) has a zero diagonal and makes every product unbiased; it
   may be a little below 0.
3. Products are summed over minibatches of quads (Nguyen et al. 2021,
   https://arxiv.org/abs/2010.15327), so that memory does not grow with their number.
4. Of each quad one input counts on each side, drawn by the core: A or L (aligned), N or C
   (conflicting). Both sides hold the same quads with the same true answers: they are paired.
5. Intervals come from resampled quads: a quad that is drawn w times counts w times in each of its
   products; the centring is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from behavior.errors import DataError
from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import CELLS, Cell
from behavior.resampling import Resamples

BATCH = 64
"""Quads in a minibatch; a rest of fewer than four is left out."""
CKA_RESAMPLES = 400
_LEAST = 4
_SIDES: tuple[tuple[Cell, Cell], ...] = (("A", "N"), ("L", "C"))
"""Aligned and conflicting cell of a quad, for either answer of the core."""

NOTHING = "one of the two representations does not vary"


@dataclass(frozen=True, slots=True)
class StageSimilarity:
    """CKA of a stage of one model with a stage of another.

    Attributes:
        first: Position of the stage in the first model.
        second: Position of the stage in the second.
        aligned: On aligned inputs.
        conflicting: On conflicting inputs of the same quads.
        difference: Aligned less conflicting.
    """

    first: int
    second: int
    aligned: Estimate
    conflicting: Estimate
    difference: Estimate


def u_centre(gram: Float[np.ndarray, "*head n n"]) -> Float[np.ndarray, "*head n n"]:
    """Gram matrices centred so that their products are unbiased; the diagonal is zero.

    Raises:
        DataError: If there are fewer than three rows.
    """
    n = gram.shape[-1]
    if n < 3:
        raise DataError(f"{n} inputs were given. Unbiased centring needs at least three.")
    centred = gram.astype(np.float64)
    centred[..., range(n), range(n)] = 0
    sums = centred.sum(axis=-1)
    centred -= (sums[..., :, None] + sums[..., None, :]) / (n - 2)
    centred += (sums.sum(axis=-1) / ((n - 1) * (n - 2)))[..., None, None]
    centred[..., range(n), range(n)] = 0
    return centred


def cka(first: Float[np.ndarray, "input d"], second: Float[np.ndarray, "other e"]) -> float | None:
    """Unbiased linear CKA of two representations of the same inputs, as one batch.

    Returns:
        None if one of them does not vary.

    Raises:
        DataError: If there are fewer than three inputs, or not as many in both.
    """
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} inputs were given; expected as many.")
    one, other = _gram(first), _gram(second)
    size = float((one**2).sum() * (other**2).sum())
    return float((one * other).sum()) / size**0.5 if size > 0 else None


@dataclass(frozen=True, eq=False)
class Minibatches:
    """Which input of each quad counts on each side, and which quads are compared together.

    Attributes:
        cells: [quad, side] position in `CELLS`; the sides are aligned and conflicting.
        members: Quads of each minibatch.
    """

    cells: Int[np.ndarray, "quad 2"]
    members: tuple[Int[np.ndarray, " _"], ...]

    @classmethod
    def draw(cls, n: int, seed: int = 0) -> "Minibatches":
        """Minibatches of n quads.

        Raises:
            DataError: If there are fewer than four.
        """
        if n < _LEAST:
            raise DataError(f"{n} quads were given. CKA needs at least {_LEAST}.")
        random = np.random.default_rng(seed)
        cells = np.array([[CELLS.index(cell) for cell in side] for side in _SIDES])
        chosen = cells[random.integers(2, size=n)]
        return cls(chosen, tuple(_batches(random.permutation(n))))


Grams = list[Float[np.ndarray, "2 _ _"]]
"""U-centred Gram matrices of one stage, [side, member, member] of each minibatch: all that CKA
knows of the stage."""


def stage_grams(
    stages: Sequence[Float[np.ndarray, "quad 4 _"]], batches: Minibatches
) -> list[Grams]:
    """Gram matrices of every stage.

    Args:
        stages: [stage] features of the quads' cells A, N, C, L.
        batches: Of the same quads.
    """
    return [
        [
            np.stack([_gram(stage[members, batches.cells[members, side]]) for side in (0, 1)])
            for members in batches.members
        ]
        for stage in stages
    ]


def compare_stages(
    first: Sequence[Float[np.ndarray, "quad 4 _"]],
    second: Sequence[Float[np.ndarray, "quad 4 _"]],
    resamples: Resamples,
    seed: int = 0,
) -> tuple[StageSimilarity, ...]:
    """CKA of every stage of one model with every stage of another, on the same quads.

    Args:
        first: [stage] features of the quads' cells A, N, C, L.
        second: [stage] likewise, of the other model.
        resamples: Of the quads, one row each.
        seed: Of the minibatches, and of which of its inputs a quad gives.

    Raises:
        DataError: If there are fewer than four quads.
    """
    batches = Minibatches.draw(len(first[0]), seed)
    ours, theirs = (stage_grams(stages, batches) for stages in (first, second))
    return compare_grams(ours, theirs, batches, resamples)


def compare_grams(
    first: Sequence[Grams], second: Sequence[Grams], batches: Minibatches, resamples: Resamples
) -> tuple[StageSimilarity, ...]:
    """CKA of every two stages from their Gram matrices.

    Args:
        first: [stage] of one model.
        second: [stage] of the other.
        batches: Those of the Gram matrices.
        resamples: Of the quads, one row each.
    """
    drawn = resamples.row_weights[:CKA_RESAMPLES]
    weights = np.concatenate([np.ones((1, drawn.shape[1])), drawn])
    parts = [weights[:, members] for members in batches.members]
    sizes = [[_products(each, each, parts) for each in model] for model in (first, second)]
    found: list[StageSimilarity] = []
    for i, ours in enumerate(first):
        for j, theirs in enumerate(second):
            cosines = _cosines(_products(ours, theirs, parts), sizes[0][i], sizes[1][j])
            found.append(_similarity(cosines, i, j, len(batches.cells)))
    return tuple(found)


def _products(
    one: Grams, other: Grams, weights: Sequence[Float[np.ndarray, "_ _"]]
) -> Float[np.ndarray, "side replicate"]:
    """Products of Gram matrices over all minibatches, under each weighting of the quads."""
    return np.sum(
        [
            [_total(a[side] * b[side], w) for side in (0, 1)]
            for a, b, w in zip(one, other, weights, strict=True)
        ],
        axis=0,
    )


def _cosines(
    cross: Float[np.ndarray, "side replicate"],
    first: Float[np.ndarray, "side replicate"],
    second: Float[np.ndarray, "side replicate"],
) -> Float[np.ndarray, "side replicate"]:
    """CKA under each weighting; NaN where a representation does not vary."""
    size = first * second
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, cross / np.sqrt(size), np.nan)


def _gram(features: Float[np.ndarray, "input d"]) -> Float[np.ndarray, "input input"]:
    x = features.astype(np.float64)
    x = x - x.mean(axis=0)
    # What varies by rounding alone does not vary.
    scale = np.abs(features).max(initial=0)
    x = np.where(np.abs(x).max(initial=0) > 1e-6 * scale, x, 0.0)
    return u_centre(x @ x.T)


def _total(
    products: Float[np.ndarray, "member member"], weights: Float[np.ndarray, "replicate member"]
) -> Float[np.ndarray, " replicate"]:
    return np.einsum("rm,rm->r", weights @ products, weights)


def _batches(order: Int[np.ndarray, " quad"]) -> list[Int[np.ndarray, " _"]]:
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [part for part in parts if len(part) >= _LEAST]


def _similarity(
    cosines: Float[np.ndarray, "side replicate"], i: int, j: int, n: int
) -> StageSimilarity:
    aligned, conflicting = cosines
    estimates = [
        estimate_replicates(values, n, bounds=bounds, undefined=NOTHING)
        for values, bounds in (
            (aligned, (-1.0, 1.0)),
            (conflicting, (-1.0, 1.0)),
            (aligned - conflicting, (-2.0, 2.0)),
        )
    ]
    return StageSimilarity(i, j, *estimates)
