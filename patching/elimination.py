"""Which of many columns have the largest means, without looking at all of every column.

Values are dear and have a cheap estimate each, which is known for all rows. Rows are looked at in a
random order, in blocks that double; after each block a column is dropped if its mean over all rows
cannot be among the k largest in size:

    mean = mean estimate + what a straight line from estimates to values adds,

the regression estimator of survey sampling (Cochran 1977, chapter 7). Its error is t times its
standard error, from the residuals of the rows seen so far, with the correction for a finite number
of rows, and with a level that is divided by the columns and blocks (Bonferroni). A column's
residual variance counts as the mean of all columns where its own is smaller: single rows may carry
large residuals that a block does not show, but other columns do. It is a statistical bound, and
tails that no column shows break it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

Array = Float[np.ndarray, "..."]
Look = Callable[[Sequence[int], Sequence[int]], Float[np.ndarray, "row column"]]
"""Gives the values of some rows and columns."""


@dataclass(frozen=True, slots=True)
class Elimination:
    """What was looked at.

    Attributes:
        values: [row, column] values; NaN where nobody looked.
        kept: [column] whether all its rows were looked at.
        bounds: [column] upper bound of the size of its mean; that size itself where kept.
    """

    values: Float[np.ndarray, "row column"]
    kept: Bool[np.ndarray, " column"]
    bounds: Float[np.ndarray, " column"]


def eliminate(
    estimates: Float[np.ndarray, "row column"],
    look: Look,
    k: int,
    *,
    first: int,
    level: float,
    seed: int,
) -> Elimination:
    """Look at the columns whose mean could be among the k largest in size.

    Args:
        estimates: A cheap estimate of every value.
        look: Gives values.
        k: How many columns are wanted.
        first: Rows of the first block, of which all columns are looked at.
        level: Of all bounds together, such as 0.01.
        seed: Of the order of rows.
    """
    n_rows, n_columns = estimates.shape
    order = np.random.default_rng(seed).permutation(n_rows)
    ends = _ends(first, n_rows)
    level /= n_columns * max(1, len(ends) - 1)
    values = np.full(estimates.shape, np.nan)
    kept, bounds = np.ones(n_columns, dtype=bool), np.full(n_columns, np.inf)
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        _look_at(values, look, order[start:end], kept)
        lower = np.zeros(n_columns)
        seen = order[:end]
        middle, width = _estimate(estimates[:, kept], values[seen][:, kept], seen, level)
        bounds[kept], lower[kept] = np.abs(middle) + width, np.abs(middle) - width
        kept &= bounds >= np.sort(lower)[-k]
    while (late := ~kept & (bounds >= _threshold(values, kept, k))).any():
        _look_again(values, look, late)
        kept |= late
    bounds[kept] = np.abs(values[:, kept].mean(axis=0))
    return Elimination(values, kept, bounds)


def _ends(first: int, n_rows: int) -> list[int]:
    """Ends of blocks, each as large as all before it together."""
    ends = [min(first, n_rows)]
    while ends[-1] < n_rows:
        ends.append(min(2 * ends[-1], n_rows))
    return ends


def _look_at(
    values: Array, look: Look, rows: Int[np.ndarray, " seen"], columns: Bool[np.ndarray, " column"]
) -> None:
    chosen = np.flatnonzero(columns)
    values[np.ix_(rows, chosen)] = look(rows.tolist(), chosen.tolist())


def _look_again(values: Array, look: Look, columns: Bool[np.ndarray, " column"]) -> None:
    """All rows of columns that were dropped too early."""
    for column in np.flatnonzero(columns):
        missing = np.flatnonzero(np.isnan(values[:, column]))
        values[missing, column] = look(missing.tolist(), [int(column)])[:, 0]


def _threshold(values: Array, kept: Bool[np.ndarray, " column"], k: int) -> float:
    return float(np.sort(np.abs(values[:, kept].mean(axis=0)))[-k])


def _estimate(
    estimates: Float[np.ndarray, "row kept"],
    values: Float[np.ndarray, "seen kept"],
    seen: Int[np.ndarray, " seen"],
    level: float,
) -> tuple[Float[np.ndarray, " kept"], Float[np.ndarray, " kept"]]:
    """Mean of each column over all rows, and by how much it may be wrong."""
    n, total = len(seen), len(estimates)
    if n == total:
        return values.mean(axis=0), np.zeros(values.shape[1])
    known = estimates[seen]
    x, y = known - known.mean(axis=0), values - values.mean(axis=0)
    spread = (x**2).sum(axis=0)
    slope = np.divide((x * y).sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 0)
    shift = estimates.mean(axis=0) - known.mean(axis=0)
    leverage = np.divide(shift**2, spread, out=np.zeros_like(spread), where=spread > 0)
    own = ((y - slope * x) ** 2).sum(axis=0) / (n - 2)
    error = np.sqrt(np.maximum(own, own.mean()) * (1 / n - 1 / total + leverage))
    return values.mean(axis=0) + slope * shift, stats.t.ppf(1 - level / 2, n - 2) * error
