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
    n = len(first[0])
    if n < _LEAST:
        raise DataError(f"{n} quads were given. CKA needs at least {_LEAST}.")
    random = np.random.default_rng(seed)
    cells = np.array([[CELLS.index(cell) for cell in side] for side in _SIDES])
    chosen = cells[random.integers(2, size=n)]
    batches = _batches(random.permutation(n))
    weights = _weights(resamples)
    products = [_SideProducts(first, second, chosen[:, side], batches, weights) for side in (0, 1)]
    return tuple(
        _similarity(products, i, j, n) for i in range(len(first)) for j in range(len(second))
    )


class _SideProducts:
    """Products of centred Gram matrices on one input of each quad, over all weightings."""

    def __init__(
        self,
        first: Sequence[Float[np.ndarray, "quad 4 _"]],
        second: Sequence[Float[np.ndarray, "quad 4 _"]],
        cell: Int[np.ndarray, " quad"],
        batches: Sequence[Int[np.ndarray, " _"]],
        weights: Float[np.ndarray, "replicate quad"],
    ) -> None:
        self.cross = np.zeros((len(first), len(second), len(weights)))
        self.sizes = [np.zeros((len(each), len(weights))) for each in (first, second)]
        for members in batches:
            ours, theirs = (
                [_gram(stage[members, cell[members]]) for stage in model]
                for model in (first, second)
            )
            w = weights[:, members]
            for i, one in enumerate(ours):
                for j, other in enumerate(theirs):
                    self.cross[i, j] += _total(one * other, w)
            for size, grams in zip(self.sizes, (ours, theirs), strict=True):
                for i, gram in enumerate(grams):
                    size[i] += _total(gram**2, w)

    def cosine(self, i: int, j: int) -> Float[np.ndarray, " replicate"]:
        """CKA under each weighting; NaN where a representation does not vary."""
        size = self.sizes[0][i] * self.sizes[1][j]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(size > 0, self.cross[i, j] / np.sqrt(size), np.nan)


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


def _weights(resamples: Resamples) -> Float[np.ndarray, "replicate quad"]:
    drawn = resamples.row_weights[:CKA_RESAMPLES]
    return np.concatenate([np.ones((1, drawn.shape[1])), drawn])


def _similarity(products: Sequence[_SideProducts], i: int, j: int, n: int) -> StageSimilarity:
    aligned, conflicting = (side.cosine(i, j) for side in products)
    estimates = [
        estimate_replicates(values, n, bounds=bounds, undefined=NOTHING)
        for values, bounds in (
            (aligned, (-1.0, 1.0)),
            (conflicting, (-1.0, 1.0)),
            (aligned - conflicting, (-2.0, 2.0)),
        )
    ]
    return StageSimilarity(i, j, *estimates)
