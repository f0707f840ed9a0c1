"""Intervals in closed form: proportions, their differences, and means over seeds.

1. A proportion of n independent answers has Wilson's interval, which never has zero width: all of
   400 right is 1.000 [.990, 1.000].
2. Answers within a unit (the cells of a quad) depend on each other. They count as the number of
   independent answers that has the same variance (Korn and Graubard 1998), never as more than
   there are. The variance is taken with one more unit that goes against the majority throughout,
   so that data without a single error count their units, not their answers.
3. The difference of two proportions combines their intervals and their correlation
   (Zou and Donner 2008, https://doi.org/10.1002/sim.3095).
4. A mean over seeds has Student's t interval; the prediction interval is for one further seed.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from behavior.estimates import Estimate
from behavior.resampling import Resamples


def wilson_interval(value: float, n: float | int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion of n independent answers."""
    z = float(special.ndtri((1 + confidence) / 2))
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    low = 0.0 if value == 0 else max(centre - half, 0.0)
    high = 1.0 if value == 1 else min(centre + half, 1.0)
    return low, high


def effective_wilson_interval(
    value: float, variance: float, n_units: int, n_answers: float | int = np.inf
) -> tuple[float, float]:
    """Wilson's interval with the number of independent answers that has this variance.

    Args:
        value: Proportion, or AUC.
        variance: Of the value, over samples of units.
        n_units: Number of units.
        n_answers: The most that the units can count as.
    """
    against = 0.0 if value >= 0.5 else 1.0
    guarded = (n_units * value + against) / (n_units + 1)
    surprise = (against - value) ** 2 * n_units / (n_units + 1)
    guarded_variance = (n_units**2 * variance + surprise) / (n_units + 1) ** 2
    return wilson_interval(value, min(guarded * (1 - guarded) / guarded_variance, n_answers))


def estimate_proportion(
    hits: Bool[np.ndarray, "row answer"],
    resamples: Resamples,
    *,
    where: Bool[np.ndarray, "row answer"] | None = None,
    missing: str = "no examples",
) -> Estimate:
    """Share of hits among the answers that count, with Wilson's interval over units.

    With one answer for each unit this is the plain interval; see the module for more.
    """
    counted = np.ones(hits.shape, dtype=bool) if where is None else where
    residuals, sizes, value = _residuals(hits, counted, resamples)
    n_units = int((sizes > 0).sum())
    if n_units == 0:
        return Estimate.null(missing)
    variance = float((residuals**2).sum() / sizes.sum() ** 2)
    low, high = effective_wilson_interval(value, variance, n_units, float(sizes.sum()))
    return Estimate(value, low, high, n_units)


def estimate_gap(
    hits: Bool[np.ndarray, "row answer"],
    resamples: Resamples,
    *,
    first: Bool[np.ndarray, "row answer"],
    second: Bool[np.ndarray, "row answer"],
    missing: str = "one of the two groups has no examples",
) -> Estimate:
    """Share of hits among the first answers minus that among the second, over the same units."""
    one = estimate_proportion(hits, resamples, where=first, missing=missing)
    other = estimate_proportion(hits, resamples, where=second, missing=missing)
    ends = (one.value, one.low, one.high, other.value, other.low, other.high)
    if any(end is None for end in ends):
        return Estimate.null(missing)
    p, p_low, p_high, q, q_low, q_high = (float(end) for end in ends if end is not None)
    residuals, _, _ = _residuals(hits, first, resamples)
    others, _, _ = _residuals(hits, second, resamples)
    norm = sqrt(float((residuals**2).sum() * (others**2).sum()))
    correlation = float(residuals @ others) / norm if norm > 0 else 0.0
    below = _combine(p - p_low, q_high - q, correlation)
    above = _combine(p_high - p, q - q_low, correlation)
    return Estimate(p - q, max(p - q - below, -1.0), min(p - q + above, 1.0), max(one.n, other.n))


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean over seeds with Student's t interval; no interval from a single seed."""
    return _student(values, confidence, further=0)


def t_prediction_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean over seeds with the interval in which one further seed lands with this probability."""
    return _student(values, confidence, further=1)


def _residuals(
    hits: Bool[np.ndarray, "row answer"],
    counted: Bool[np.ndarray, "row answer"],
    resamples: Resamples,
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"], float]:
    """Each unit's hits beyond the share, its answers, and the share; repeated rows count once."""
    repeats = len(resamples.rows) / max(len(np.unique(resamples.rows)), 1)
    sums = resamples.totals((hits & counted).sum(1)) / repeats
    sizes = resamples.totals(counted.sum(1)) / repeats
    value = float(sums.sum() / sizes.sum()) if sizes.any() else 0.0
    return sums - value * sizes, sizes, value


def _combine(one: float, other: float, correlation: float) -> float:
    return sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0))


def _student(values: Sequence[float], confidence: float, further: int) -> Estimate:
    n = len(values)
    if n == 0:
        return Estimate.null("no seeds")
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(mean, None, None, 1, "one seed gives no interval")
    quantile = float(special.stdtrit(n - 1, (1 + confidence) / 2))
    half = quantile * float(np.std(values, ddof=1)) * sqrt(1 / n + further)
    return Estimate(mean, mean - half, mean + half, n)
