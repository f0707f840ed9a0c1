"""Shares, rates and slopes of the calibration, with intervals over runs or over plants."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from calibration_runs import SIZES, Planted, Run

from behavior.estimates import Estimate
from behavior.intervals import estimate_proportion
from behavior.resampling import resample_units
from behavior.statistics import bootstrap, estimate_means
from circuits.compare.diff import DELTA

Tests = Callable[[Run], Iterable[bool]]


def share_of(runs: Sequence[Run], tests: Tests) -> Estimate:
    """Share of tests, its interval over runs."""
    found = [(str(i), test) for i, run in enumerate(runs) for test in tests(run)]
    return proportion([unit for unit, _ in found], [test for _, test in found])


def plain_share(hits: Sequence[bool]) -> Estimate:
    """Share of hits, each a unit of its own."""
    return proportion([str(i) for i in range(len(hits))], hits)


def proportion(units: Sequence[str], hits: Sequence[bool]) -> Estimate:
    """Share of hits, its interval over units."""
    if not units:
        return Estimate.null("no tests")
    return estimate_proportion(np.array(hits)[:, None], resample_units(units, n_resamples=1))


def recall_of(runs: Sequence[Run], low: float, high: float) -> Estimate:
    """Share of true differences of these sizes that are declared, with the right sign."""
    found = [
        (run.name, change.is_change and (change.difference.value or 0) * truth > 0)
        for run in runs
        for change, truth in zip(run.changes, run.truth, strict=True)
        if low <= abs(truth) <= high
    ]
    return proportion([name for name, _ in found], [hit for _, hit in found])


def false_discovery_rate(
    runs: Sequence[Run], units: Sequence[str], least: float = DELTA * (1 + 1e-9)
) -> Estimate:
    """Mean share of declared changes that are smaller than that, or of the other sign."""
    shares: list[float] = []
    for run in runs:
        wrong = [
            abs(truth) < least or truth * (change.difference.value or 0) < 0
            for change, truth in zip(run.changes, run.truth, strict=True)
            if change.is_change
        ]
        shares.append(float(np.mean(wrong)) if wrong else 0.0)
    return estimate_means(np.array(shares)[:, None], resample_units(units))[0]


def slope_of(units: Sequence[str], points: Sequence[tuple[float, float]]) -> Estimate:
    """Slope through zero of what was found on what was foretold."""
    if not points:
        return Estimate.null("no heads")
    foretold, found = np.array(points).T
    return bootstrap(
        lambda weights: (weights @ (foretold * found)) / (weights @ foretold**2),
        resample_units(units),
    )


def covers(run: Run, of: str) -> list[bool]:
    """Whether each interval of `before`, `after` or `difference` holds the truth."""
    before = run.before or [np.nan] * len(run.truth)
    true = {
        "before": before,
        "after": [b + d for b, d in zip(before, run.truth, strict=True)],
        "difference": run.truth,
    }[of]
    return [
        holds(getattr(c, of), t)
        for c, t in zip(run.changes, true, strict=True)
        if getattr(c, of).value is not None  # a model without a range has no shares
    ]


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    assert estimate.low is not None, "there are enough units"
    assert estimate.high is not None, "there are enough units"
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def names_rightly(run: Run) -> list[bool]:
    """Whether declared changes of at least the smallest size go the way that they do."""
    return [
        (change.category == "gained") == (before == 0 or truth > 0)
        for change, truth, before in zip(run.changes, run.truth, run.before, strict=True)
        if change.is_change and abs(truth) >= SIZES[1]
    ]


def declared_nodes(run: Run) -> list[str]:
    """Nodes of the student that are declared changed."""
    return [change.group.student[0] for change in run.changes if change.is_change]


def names_own(planted: Planted) -> bool:
    """Whether a changed node is among the declared ones."""
    return bool(planted.copy.own.intersection(declared_nodes(planted.run)))


def largest_change(run: Run) -> str:
    """Node with the largest difference."""
    return max(run.changes, key=lambda c: abs(c.difference.value or 0)).group.student[0]


def mean_declared(runs: Sequence[Run]) -> str:
    """Nodes declared in a run, as text."""
    return f"{np.mean([len(declared_nodes(run)) for run in runs]):.1f}"


def value_of(estimate: Estimate) -> float:
    """The number, which is there."""
    assert estimate.value is not None, "something was counted"
    return estimate.value
