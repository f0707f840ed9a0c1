"""Faithfulness from margins: ratios of weighted means, with bootstrap intervals over units."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from behavior.estimates import Estimate, estimate_replicates
from behavior.resampling import MIN_UNITS, Resamples
from behavior.statistics import benjamini_hochberg, sign_flip_test
from circuits.circuit_runs import CircuitMargins

NO_RANGE = "the model does not respond to this contrast"


class Ratios:
    """f = (m(circuit) - m(corrupted)) / (m(clean) - m(corrupted)), of means, with intervals.

    Args:
        measured: Margins of circuits.
        resamples: Over the rows of the same pairs.
    """

    def __init__(self, measured: CircuitMargins, resamples: Resamples) -> None:
        self.resamples = resamples
        self.weights = np.vstack([np.ones(len(resamples.rows)), resamples.row_weights])
        self.values = _array(measured.values)
        clean, corrupted = _array(measured.clean), _array(measured.corrupted)
        self._clean, self._corrupted = clean, corrupted
        self.clean = self._estimate(self._mean(clean))
        self.corrupted = self._estimate(self._mean(corrupted))
        ranges = self._mean(clean - corrupted)
        low, high = np.quantile(ranges[1:], (0.025, 0.975))
        certain = resamples.n_units < MIN_UNITS or low > 0 or high < 0
        self.responds = bool(ranges[0] != 0 and certain)

    def share(self, columns: Sequence[int], where: Sequence[bool] | None = None) -> Estimate:
        """Mean f of some circuits, over all rows or some."""
        return self._estimate(self._shares(columns, where))

    def areas(
        self, curve: Sequence[Sequence[int]], percents: Sequence[float]
    ) -> tuple[Estimate, Estimate]:
        """CPR and CMD: areas under f and under |1 - f| over the sizes.

        Args:
            curve: Circuits of each size; f is their mean.
            percents: Sizes, rising.
        """
        if len(percents) < 2:
            missing = Estimate.null("one size has no area", self.resamples.n_units)
            return missing, missing
        f = np.stack([self._shares(columns) for columns in curve], axis=1)
        x = np.array(percents) / 100
        # The distance is taken of each circuit, and then averaged over those of one size.
        apart = np.stack(
            [
                np.mean([np.abs(1 - self._shares([column])) for column in columns], axis=0)
                for columns in curve
            ],
            axis=1,
        )
        return self._estimate(np.trapezoid(f, x)), self._estimate(np.trapezoid(apart, x))

    def of(self, drops: Float[np.ndarray, " row"]) -> Estimate:
        """A mean change of the margin as a share of the range."""
        return self._estimate(self._mean(drops) / self._range())

    def tested(
        self, drops: Float[np.ndarray, "row k"], units: Sequence[str]
    ) -> list[tuple[Estimate, float, float]]:
        """`of` each column, with its p and q values."""
        p = sign_flip_test(drops, units=units)
        found = zip(drops.T, p, benjamini_hochberg(p), strict=True)
        return [(self.of(column), float(one_p), float(q)) for column, one_p, q in found]

    def _shares(
        self, columns: Sequence[int], where: Sequence[bool] | None = None
    ) -> Float[np.ndarray, " replicate"]:
        gained = self.values[:, list(columns)].mean(axis=1) - self._corrupted
        return self._mean(gained, where) / self._range(where)

    def _range(self, where: Sequence[bool] | None = None) -> Float[np.ndarray, " replicate"]:
        ranges = self._mean(self._clean - self._corrupted, where)
        if not self.responds:
            return np.full_like(ranges, np.nan)
        return np.where(ranges == 0, np.nan, ranges)

    def _mean(
        self, values: Float[np.ndarray, " row"], where: Sequence[bool] | None = None
    ) -> Float[np.ndarray, " replicate"]:
        weights = self.weights if where is None else self.weights * np.array(where)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ values) / weights.sum(axis=1)

    def _estimate(self, replicates: Float[np.ndarray, " replicate"]) -> Estimate:
        return estimate_replicates(replicates, self.resamples.n_units, undefined=NO_RANGE)


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
