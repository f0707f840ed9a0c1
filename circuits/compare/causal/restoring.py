"""How much of a student's loss an intervention gives back, and what it costs elsewhere.

With p the probability of the truth (of the true class against the other of label and foil),

    loss     = mean over C and N of p(teacher) - p(student)
    gain     = mean over C and N of p(student, changed) - p(student)
    cost     = mean over A and L of p(student) - p(student, changed), zero if they gain as well
    restored = (gain - cost) / loss

Shares are taken only of a loss whose interval lies above `LEAST_LOSS`: of less, a share is noise.
An intervention that makes every answer a coin flip buys C and N with A and L; its restored share
is about zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.estimates import Estimate, estimate_replicates
from behavior.resampling import Resamples, replicate_means, resample_units
from behavior.statistics import estimate_means

NO_LOSS = "the student loses nothing on C and N"
LEAST_LOSS = 0.02

_CONFLICTING = [CELL_COLUMNS["C"], CELL_COLUMNS["N"]]
_ALIGNED = [CELL_COLUMNS["A"], CELL_COLUMNS["L"]]
_TO_LABEL = np.array([1.0, 1.0, -1.0, -1.0])


@dataclass(frozen=True, slots=True)
class Restored:
    """What an intervention on the student does, on the quads that test it.

    Attributes:
        restored: Share of the loss, net of the cost; null if there is no loss.
        gain: On C and N, in probability.
        cost: On A and L, in probability; negative if they gain.
    """

    restored: Estimate
    gain: Estimate
    cost: Estimate

    def to_json(self) -> dict[str, object]:
        """The three numbers."""
        return {name: getattr(self, name).to_json() for name in ("restored", "gain", "cost")}


def truth_probabilities(answers: QuadAnswers) -> Float[np.ndarray, "quad cell"]:
    """Probability of the truth in each cell."""
    p = answers.label_probabilities
    return np.where(_TO_LABEL > 0, p, 1 - p)


def share_restored(
    teacher: QuadAnswers, student: QuadAnswers, changed: QuadAnswers, n_resamples: int, seed: int
) -> Restored:
    """Gain, cost and the share of the loss that an intervention restores, with intervals.

    Args:
        teacher: On the quads that test the intervention.
        student: On the same.
        changed: The student with the intervention, on the same.
        n_resamples: Bootstrap resamples.
        seed: Of them.
    """
    rows = resample_units(student.units, student.templates, n_resamples, seed)
    columns = _columns(teacher, student, changed)
    loss, gain, cost = estimate_means(columns, rows, bounds=(-1.0, 1.0))
    return Restored(_share(columns, rows, loss), gain, cost)


def credit_beyond(
    teacher: QuadAnswers,
    student: QuadAnswers,
    changed: QuadAnswers,
    control: QuadAnswers,
    n_resamples: int,
    seed: int,
) -> Estimate:
    """Share of the loss that an intervention restores beyond a control, resampled together."""
    own = share_restored(teacher, student, changed, n_resamples, seed).restored
    if own.value is None:
        return own
    rows = resample_units(student.units, student.templates, n_resamples, seed)
    shares = [
        _replicate_shares(_columns(teacher, student, answers), rows)
        for answers in (changed, control)
    ]
    return estimate_replicates(shares[0] - shares[1], own.n, undefined=NO_LOSS)


def restored_value(teacher: QuadAnswers, student: QuadAnswers, changed: QuadAnswers) -> float:
    """The share alone; of a loss of zero it is not a number."""
    loss, gain, cost = _columns(teacher, student, changed).mean(0)
    return float((gain - max(cost, 0.0)) / loss) if loss else float("nan")


def rank_among(value: float, controls: Sequence[float]) -> float:
    """Share of controls, the value among them, that reach the value: a one-sided p value."""
    return (1 + sum(other >= value for other in controls)) / (1 + len(controls))


def _columns(
    teacher: QuadAnswers, student: QuadAnswers, changed: QuadAnswers
) -> Float[np.ndarray, "quad 3"]:
    before, own, after = (truth_probabilities(a) for a in (teacher, student, changed))
    moved = after - own
    return np.stack(
        [
            (before - own)[:, _CONFLICTING].mean(1),
            moved[:, _CONFLICTING].mean(1),
            -moved[:, _ALIGNED].mean(1),
        ],
        axis=1,
    )


def _share(columns: Float[np.ndarray, "quad 3"], rows: Resamples, loss: Estimate) -> Estimate:
    if loss.low is None or loss.low <= LEAST_LOSS:
        return Estimate.null(NO_LOSS if loss.low is not None else str(loss.reason), loss.n)
    return estimate_replicates(_replicate_shares(columns, rows), loss.n, undefined=NO_LOSS)


def _replicate_shares(
    columns: Float[np.ndarray, "quad 3"], rows: Resamples
) -> Float[np.ndarray, " replicate"]:
    means = replicate_means(rows.totals(columns), rows.totals(np.ones_like(columns)), rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (means[:, 1] - np.maximum(means[:, 2], 0)) / means[:, 0]
