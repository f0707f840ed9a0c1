"""How certain we are: numbers with intervals, and tests over units of resampling.

1. A statistic is a mean, a ratio of means, or any function of weights over rows.
2. Its interval comes from bootstrap weights over units within templates (`Resamples`), the same
   for every statistic of a comparison, so that differences are paired.
3. Plain means use the bootstrap-t (https://doi.org/10.1214/ss/1032280214, section 3): each
   resample's error is divided by its own standard error, which keeps the coverage of skewed
   effects near its nominal value where the percentile interval is too short.
4. Tests: sign flips for means of paired differences, two one-sided tests for equivalence,
   Benjamini-Hochberg (https://doi.org/10.1111/j.2517-6161.1995.tb02031.x) over many nodes.

An interval knows only what the units show: a failure that none of n units had may still have a
rate of 3 / n. Proportions allow for it (`behavior.intervals`), means cannot.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from behavior.errors import DataError
from behavior.estimates import Estimate, ReplicateMethod, estimate_replicates
from behavior.resampling import MIN_UNITS, Resamples, replicate_means, studentise, sum_rows

MeanMethod = Literal["t", "percentile"]

Bounds = tuple[float, float] | Float[np.ndarray, "2 stat"] | None

_COLUMNS_AT_ONCE = 256
_FLIPS_AT_ONCE = 1000


class Interval(NamedTuple):
    """Means over rows with their intervals; NaN ends where too few units give none."""

    mean: Float[np.ndarray, "*stat"]
    low: Float[np.ndarray, "*stat"]
    high: Float[np.ndarray, "*stat"]


def bootstrap_mean(
    values: Float[np.ndarray, " row *stat"],
    resamples: Resamples,
    method: MeanMethod = "percentile",
    confidence: float = 0.95,
    *,
    where: Bool[np.ndarray, " row *stat"] | None = None,
    bounds: Bounds = None,
) -> Interval:
    """Mean over rows of every trailing entry, with its bootstrap interval over units.

    Args:
        values: In any unit, which the result keeps.
        resamples: Drawn for these rows.
        method: `t` is better for means of skewed values; `percentile` never leaves their range.
        confidence: Of the two-sided interval, with equal tails.
        where: Rows that count, as in `numpy.mean`; an entry without any is NaN throughout.
        bounds: Least and greatest possible value, of all entries or of each; intervals are cut
            there.
    """
    counted = np.ones(values.shape, dtype=bool) if where is None else where
    flat = np.where(counted, values, 0.0).reshape(len(values), -1)
    sums, sizes = resamples.totals(flat), resamples.totals(counted.reshape(len(values), -1))
    blocks = [slice(i, i + _COLUMNS_AT_ONCE) for i in range(0, flat.shape[1], _COLUMNS_AT_ONCE)]
    interval = _t_interval if method == "t" else _percentile_interval
    parts = [interval(sums[:, b], sizes[:, b], resamples, 1 - confidence) for b in blocks]
    mean, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    missing = (sizes > 0).sum(0) < MIN_UNITS
    least, greatest = (-np.inf, np.inf) if bounds is None else (np.ravel(b) for b in bounds)
    low, high = (np.where(missing, np.nan, np.clip(end, least, greatest)) for end in (low, high))
    shape = values.shape[1:]
    return Interval(mean.reshape(shape), low.reshape(shape), high.reshape(shape))


def estimate_means(
    values: Float[np.ndarray, "row stat"],
    resamples: Resamples,
    *,
    where: Bool[np.ndarray, "row stat"] | None = None,
    bounds: Bounds = None,
    missing: str = "no examples",
) -> list[Estimate]:
    """Bootstrap-t means of the columns; null with the reason `missing` where no row counts."""
    interval = bootstrap_mean(values, resamples, "t", where=where, bounds=bounds)
    counted = np.ones(values.shape, dtype=bool) if where is None else where
    n_units = (resamples.totals(counted) > 0).sum(0)
    return [
        Estimate.of(mean, low, high, int(n)) if n else Estimate.null(missing)
        for mean, low, high, n in zip(*interval, n_units, strict=True)
    ]


def bootstrap(
    statistic: Callable[[Float[np.ndarray, "replicate row"]], Float[np.ndarray, " replicate"]],
    resamples: Resamples,
    *,
    method: ReplicateMethod = "percentile",
    confidence: float = 0.95,
    undefined: str = "not defined on these examples",
) -> Estimate:
    """Interval of any statistic of weighted rows, such as a ratio of weighted means.

    The statistic takes many weightings at once; its value is that of equal weights. NaN means
    that it is not defined under a weighting (then `undefined` is the reason for a null value).
    """
    ones = np.ones((1, len(resamples.rows)))
    replicates = np.concatenate([statistic(ones), statistic(resamples.row_weights)])
    n = len(np.unique(resamples.rows))
    return estimate_replicates(
        replicates, n, method=method, confidence=confidence, undefined=undefined
    )


def sign_flip_test(
    values: Float[np.ndarray, " row *stat"],
    *,
    units: Sequence[str] | None = None,
    n_flips: int = 10_000,
    seed: int = 0,
) -> Float[np.ndarray, "*stat"]:
    """Two-sided p values of a mean of zero, if each unit's sign were random.

    All rows of a unit flip together. Every combination of signs is tried where there are at most
    `n_flips` of them (then p is exact), else a random sample that includes the data.
    """
    rows = np.arange(len(values)) if units is None else np.unique(units, return_inverse=True)[1]
    n_units = int(rows.max()) + 1
    sums = sum_rows(values.reshape(len(values), -1), rows, n_units)
    exact = n_units < 63 and 2**n_units <= n_flips
    total = 2**n_units if exact else n_flips
    threshold = np.abs(sums.sum(0)) * (1 - 1e-12)
    generator = np.random.default_rng(seed)
    extreme = np.zeros(sums.shape[1])
    for start in range(0, total, _FLIPS_AT_ONCE):
        numbers = np.arange(start, min(start + _FLIPS_AT_ONCE, total))
        bits = (
            numbers[:, None] >> np.arange(n_units) & 1
            if exact
            else generator.integers(2, size=(len(numbers), n_units))
        )
        extreme += (np.abs((2.0 * bits - 1) @ sums) >= threshold).sum(0)
    p = extreme / total if exact else (extreme + 1) / (total + 1)
    return p.reshape(values.shape[1:])


def permutation_test_paired(
    first: Float[np.ndarray, " row *stat"],
    second: Float[np.ndarray, " row *stat"],
    *,
    units: Sequence[str] | None = None,
    n_flips: int = 10_000,
    seed: int = 0,
) -> Float[np.ndarray, "*stat"]:
    """Two-sided p values of equal means, if the two were exchanged at random within units.

    To exchange first and second in a unit is to flip the sign of its difference.
    """
    return sign_flip_test(first - second, units=units, n_flips=n_flips, seed=seed)


def equivalence_test(
    values: Float[np.ndarray, " row *stat"], delta: float, resamples: Resamples
) -> Float[np.ndarray, "*stat"]:
    """P values of two one-sided bootstrap-t tests: small where the mean lies within +-delta.

    p < .05 says the same as a 90 % `t` interval inside +-delta. NaN where too few units.

    Raises:
        DataError: If delta is not positive.
    """
    if delta <= 0:
        raise DataError(f"delta is {delta}; equivalence needs a positive margin.")
    sums = resamples.totals(values.reshape(len(values), -1))
    sizes = resamples.totals(np.ones((len(values), sums.shape[1])))
    mean, error, t = studentise(sums, sizes, resamples)
    with np.errstate(divide="ignore"):
        to_low, to_high = (mean + delta) / error, (mean - delta) / error
    n_defined = np.isfinite(t).sum(0) + 1
    beyond = np.maximum((t >= to_low).sum(0), (t <= to_high).sum(0))
    certain = np.where(np.abs(mean) < delta, 0.0, 1.0)
    p = np.where(error > 0, (beyond + 1) / n_defined, certain)
    p = np.where((sizes > 0).sum(0) < MIN_UNITS, np.nan, p)
    return p.reshape(values.shape[1:])


def beyond_test(
    values: Float[np.ndarray, " row *stat"], delta: float, resamples: Resamples
) -> Float[np.ndarray, "*stat"]:
    """P values of a bootstrap-t test: small where the mean lies outside +-delta.

    Of a mean within +-delta it is at most .05 in one case of twenty (one side can be missed at a
    time, so p is not doubled); delta may be 0, then p is doubled. NaN where too few units.

    Raises:
        DataError: If delta is negative.
    """
    if delta < 0:
        raise DataError(f"delta is {delta}; expected a margin of at least 0.")
    sums = resamples.totals(values.reshape(len(values), -1))
    sizes = resamples.totals(np.ones((len(values), sums.shape[1])))
    mean, error, t = studentise(sums, sizes, resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (np.abs(mean) - delta) / error
    n_defined = np.isfinite(t).sum(0) + 1
    reach = np.where(mean > 0, (t >= far).sum(0), (t <= -far).sum(0))
    p = np.where(error > 0, (reach + 1) / n_defined, np.where(np.abs(mean) > delta, 0.0, 1.0))
    p = np.minimum(p * (2 if delta == 0 else 1), 1.0)
    p = np.where((sizes > 0).sum(0) < MIN_UNITS, np.nan, p)
    return p.reshape(values.shape[1:])


def benjamini_hochberg(p: Float[np.ndarray, "*stat"]) -> Float[np.ndarray, "*stat"]:
    """Adjusted p values (q) over all entries: q < a keeps the false-discovery rate below a."""
    return np.asarray(stats.false_discovery_control(p.ravel(), method="bh")).reshape(p.shape)


def _t_interval(
    sums: Float[np.ndarray, "unit k"],
    sizes: Float[np.ndarray, "unit k"],
    resamples: Resamples,
    alpha: float,
) -> Interval:
    mean, error, t = studentise(sums, sizes, resamples)
    upper, lower = _quantiles(t, (1 - alpha / 2, alpha / 2))
    return Interval(mean, mean - upper * error, mean - lower * error)


def _percentile_interval(
    sums: Float[np.ndarray, "unit k"],
    sizes: Float[np.ndarray, "unit k"],
    resamples: Resamples,
    alpha: float,
) -> Interval:
    replicates = replicate_means(sums, sizes, resamples)
    low, high = _quantiles(replicates[1:], (alpha / 2, 1 - alpha / 2))
    return Interval(replicates[0], low, high)


def _quantiles(
    values: Float[np.ndarray, "resample k"], levels: tuple[float, float]
) -> Float[np.ndarray, "2 k"]:
    if np.isfinite(values).all():
        return np.quantile(values, levels, axis=0)
    undefined = ~np.isfinite(values).any(0)
    defined = np.where(undefined, 0.0, np.where(np.isfinite(values), values, np.nan))
    return np.where(undefined, np.nan, np.nanquantile(defined, levels, axis=0))
