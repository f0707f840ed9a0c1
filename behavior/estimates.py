"""A number with its interval, as every result stores it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float

from behavior.errors import DataError
from behavior.resampling import MIN_UNITS

ReplicateMethod = Literal["percentile", "basic"]

NO_INTERVAL = f"fewer than {MIN_UNITS} units give no interval"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its 95 % interval and the number of units it rests on.

    Attributes:
        value: None if the quantity is not defined on these data.
        low: Lower end; None if there is no value, or too few units for an interval.
        high: Upper end; None as `low`.
        n: Units of resampling (quads, pairs, examples, seeds) that the value rests on.
        reason: Why the value, or the interval, is missing; None if both are there.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high)
        if any(number is not None and not np.isfinite(number) for number in numbers):
            raise DataError(f"An estimate needs finite numbers, got {numbers}; use Estimate.null.")
        if None in numbers and not self.reason:
            raise DataError(f"An estimate that lacks a number needs a reason, got {numbers}.")

    def __str__(self) -> str:
        if self.value is None:
            return f"none: {self.reason}"
        if self.low is None or self.high is None:
            return f"{self.value:.2f} (n = {self.n:,}; {self.reason})"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f}; n = {self.n:,})"

    @classmethod
    def null(cls, reason: str, n: int = 0) -> "Estimate":
        """A quantity that is not defined on these data, with the reason."""
        return cls(None, None, None, n, reason)

    @classmethod
    def of(cls, value: float, low: float, high: float, n: int) -> "Estimate":
        """A number with its interval, where NaN ends mean that there is no interval."""
        if np.isnan(low) or np.isnan(high):
            return cls(float(value), None, None, n, NO_INTERVAL)
        return cls(float(value), float(low), float(high), n)

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside it."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, object]:
        """`{value, low, high, n}`, or `{value: None, reason, n}`; never NaN."""
        if self.value is None:
            return {"value": None, "reason": self.reason, "n": self.n}
        numbers: dict[str, object] = {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
        }
        return numbers if self.reason is None else {**numbers, "reason": self.reason}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> "Estimate":
        """Read what `to_json` wrote."""
        value, low, high = (cast(float | None, stored.get(k)) for k in ("value", "low", "high"))
        return cls(value, low, high, cast(int, stored["n"]), cast(str | None, stored.get("reason")))


def estimate_replicates(
    replicates: Float[np.ndarray, " replicate"],
    n: int,
    *,
    method: ReplicateMethod = "percentile",
    confidence: float = 0.95,
    bounds: tuple[float, float] | None = None,
    undefined: str = "not defined on these examples",
) -> Estimate:
    """Estimate from a statistic's value (first) and its values on the resamples (the others).

    `percentile` takes the quantiles of the resamples. `basic` reflects them at the value, which
    is right for a statistic that resampling inflates, and is then widened to hold the value.
    Resamples on which the statistic is not defined are left out.
    """
    value, resampled = float(replicates[0]), replicates[1:][np.isfinite(replicates[1:])]
    if not np.isfinite(value):
        return Estimate.null(undefined, n)
    if n < MIN_UNITS or len(resampled) == 0:
        return Estimate(value, None, None, n, NO_INTERVAL)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile(resampled, tails)
    if method == "basic":
        low, high = min(2 * value - high, value), max(2 * value - low, value)
    least, greatest = bounds or (-np.inf, np.inf)
    return Estimate(value, max(float(low), least), min(float(high), greatest), n)
