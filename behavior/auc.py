"""AUC: how often a positive example is ranked above a negative one, ties counting half.

All positives are compared with all negatives. Weighted by units the comparisons are counted from
one sort and one cumulative sum, so that thousands of resamples cost little more than one.
"""

import numpy as np
from jaxtyping import Float, Int

from behavior.estimates import Estimate
from behavior.intervals import effective_wilson_interval
from behavior.resampling import Resamples

_REPLICATES_AT_ONCE = 64


def auc(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> float:
    """Probability that a positive scores above a negative, ties counting half."""
    of_positive = np.arange(len(positive))
    of_negative = len(positive) + np.arange(len(negative))
    weights = np.ones((1, len(positive) + len(negative)))
    return float(weighted_auc(positive, negative, weights, of_positive, of_negative)[0])


def weighted_auc(
    positive: Float[np.ndarray, " positive"],
    negative: Float[np.ndarray, " negative"],
    weights: Float[np.ndarray, "replicate row"],
    positive_rows: Int[np.ndarray, " positive"],
    negative_rows: Int[np.ndarray, " negative"],
) -> Float[np.ndarray, " replicate"]:
    """AUC under many weightings of rows at once; NaN where a side has no weight.

    Args:
        positive: Scores to be ranked above.
        negative: Scores to be ranked below.
        weights: Of the rows.
        positive_rows: Row whose weight each positive has.
        negative_rows: Row whose weight each negative has.
    """
    order = np.argsort(negative, kind="stable")
    ranked, ranked_rows = negative[order], negative_rows[order]
    below_each = np.searchsorted(ranked, positive, "left")
    up_to_each = np.searchsorted(ranked, positive, "right")
    areas = np.empty(len(weights))
    for start in range(0, len(weights), _REPLICATES_AT_ONCE):
        block = weights[start : start + _REPLICATES_AT_ONCE]
        passed = np.zeros((len(block), len(negative) + 1))
        np.cumsum(block[:, ranked_rows], axis=1, out=passed[:, 1:])
        wins = (passed[:, below_each] + passed[:, up_to_each]) / 2
        of_positive = block[:, positive_rows]
        won = np.einsum("ri,ri->r", wins, of_positive)
        with np.errstate(invalid="ignore"):
            areas[start : start + len(block)] = won / (of_positive.sum(1) * passed[:, -1])
    return areas


def replicate_auc(
    positive: Float[np.ndarray, "row p"], negative: Float[np.ndarray, "row q"], resamples: Resamples
) -> Float[np.ndarray, " replicate"]:
    """AUC on the data (first) and on each resample; columns are answers of the same row's unit."""
    return weighted_auc(
        positive.ravel(),
        negative.ravel(),
        np.vstack([np.ones(resamples.n_units), resamples.weights]),
        np.repeat(resamples.rows, positive.shape[1]),
        np.repeat(resamples.rows, negative.shape[1]),
    )


def auc_estimate(
    positive: Float[np.ndarray, "row p"], negative: Float[np.ndarray, "row q"], resamples: Resamples
) -> Estimate:
    """AUC with Wilson's interval for the variance that it has over resamples of the units.

    The number of independent answers is the one that has this variance (Kottas, Kuss and Zapf
    2014, https://doi.org/10.1186/1471-2288-14-26), so that perfect separation keeps a width.
    """
    return estimate_auc_replicates(replicate_auc(positive, negative, resamples), resamples)


def estimate_auc_replicates(
    replicates: Float[np.ndarray, " replicate"], resamples: Resamples
) -> Estimate:
    """As `auc_estimate`, from what `replicate_auc` returned."""
    value, resampled = float(replicates[0]), replicates[1:]
    variance = float(np.mean((resampled - resampled.mean()) ** 2))
    n_units = len(np.unique(resamples.rows))
    return Estimate(value, *effective_wilson_interval(value, variance, n_units), n_units)
