"""Mean effects of nodes over units of resampling, with intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from torch import Tensor

from behavior.resampling import Resamples, resample_units
from behavior.statistics import benjamini_hochberg, bootstrap_mean, sign_flip_test


@dataclass(frozen=True, slots=True)
class EffectSummary:
    """What the pairs say about each node.

    Attributes:
        nodes: [node] names.
        mean: [node] mean effect over pairs, in logits.
        low: [node] lower end of its 95 % interval (bootstrap-t over units within templates); NaN
            if there are too few units.
        high: [node] upper end.
        p: [node] two-sided p value of a mean of zero (units' signs flipped).
        q: [node] p after Benjamini-Hochberg over all nodes here.
        n: Units of resampling.
    """

    nodes: tuple[str, ...]
    mean: Float[np.ndarray, " node"]
    low: Float[np.ndarray, " node"]
    high: Float[np.ndarray, " node"]
    p: Float[np.ndarray, " node"]
    q: Float[np.ndarray, " node"]
    n: int

    @property
    def reaches_zero(self) -> Bool[np.ndarray, " node"]:
        """[node] whether zero lies in the interval, or there is none."""
        return ~((self.low > 0) | (self.high < 0))

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each node."""
        columns = ("mean", "low", "high", "p", "q")
        table = {"node": self.nodes, **{name: getattr(self, name) for name in columns}}
        return pd.DataFrame(table).assign(n=self.n)


def summarise(
    values: Float[Tensor, "pair node"],
    nodes: tuple[str, ...],
    units: Sequence[str],
    templates: Sequence[str],
    resamples: Resamples | None = None,
) -> EffectSummary:
    """Summary of each column over units of resampling."""
    array = values.double().cpu().numpy()
    drawn = resample_units(units, templates) if resamples is None else resamples.over(units)
    interval = bootstrap_mean(array, drawn, "t")
    p = sign_flip_test(array, units=units)
    return EffectSummary(
        nodes, interval.mean, interval.low, interval.high, p, benjamini_hochberg(p), len(set(units))
    )


@runtime_checkable
class OfPairs(Protocol):
    """A result with one row for each pair."""

    @property
    def units(self) -> tuple[str, ...]:
        """[pair] unit of resampling."""
        ...

    @property
    def templates(self) -> tuple[str, ...]:
        """[pair] cluster of the unit."""
        ...

    @property
    def steps(self) -> tuple[str, ...]:
        """[pair] the cells."""
        ...

    @property
    def clean(self) -> Tensor:
        """[pair] margins of the clean run."""
        ...

    @property
    def corrupted(self) -> Tensor:
        """[pair] margins of the corrupted run."""
        ...


def pair_table(result: OfPairs, n_columns: int) -> pd.DataFrame:
    """What is known of each pair, in a row for each of its values."""
    per_pair = {
        "pair": range(len(result.units)),
        "unit": result.units,
        "template": result.templates,
        "step": result.steps,
        "clean": result.clean.tolist(),
        "corrupted": result.corrupted.tolist(),
    }
    table = pd.DataFrame(per_pair)
    repeated = table.iloc[np.repeat(np.arange(len(table)), n_columns)]
    return repeated.reset_index(drop=True)
