"""Is an erosion only a shift of the threshold? Refit it on half of the quads, test on the other.

1. Half of the quads choose the threshold on the student's margin (label if above, else foil) with
   the best balanced accuracy over the four cells; zero, the student's own, is kept if no other is
   better, and of equally good ones the nearest to zero is taken.
2. The other half tests it. With acc = mean accuracy over C and N of the answer by margin,

       loss     = acc(teacher, 0) - acc(student, 0)
       gain     = acc(student, threshold) - acc(student, 0)
       regained = (gain - what the refit costs on A and L) / loss

   with the cost as a mean over A and L in the same way, and zero if they gain as well: any model
   buys half of C and N by giving up half of A and L. A threshold shift regains nearly everything
   and loses no AUC4; a lost ability is not regained.

Intervals are over the testing half, with the chosen threshold held fixed.
"""

from typing import TypedDict

import numpy as np
from jaxtyping import Float

from behavior.answers import CELL_COLUMNS, QuadAnswers, check_same_quads
from behavior.auc import replicate_auc
from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import CELLS, LABEL_CELLS
from behavior.measures import RANKINGS
from behavior.resampling import Resamples, replicate_means, resample_units, split_units
from behavior.statistics import estimate_means

NO_LOSS = "the student loses nothing on C and N"
ONE_QUAD = "one quad cannot be split into halves"

_IS_LABEL = np.array([cell in LABEL_CELLS for cell in CELLS])
_CONFLICTING = [CELL_COLUMNS["C"], CELL_COLUMNS["N"]]
_ALIGNED = [CELL_COLUMNS["A"], CELL_COLUMNS["L"]]


class ThresholdRefit(TypedDict):
    """What `threshold_refit` returns.

    Attributes:
        threshold: On the student's margin, in logits.
        regained: Share of the loss regained; null if there is no loss.
        loss: In accuracy over C and N, teacher minus student, each at zero.
        gain: In the student's accuracy over C and N, by the refit.
        aligned_gain: In the student's accuracy over A and L, by the refit.
        auc4_loss: AUC4 of the teacher minus that of the student.
        chosen_on: Ids of the quads that chose the threshold.
        tested_on: Ids of the quads that all estimates are from.
    """

    threshold: float
    regained: Estimate
    loss: Estimate
    gain: Estimate
    aligned_gain: Estimate
    auc4_loss: Estimate
    chosen_on: tuple[str, ...]
    tested_on: tuple[str, ...]


def threshold_refit(
    teacher: QuadAnswers, student: QuadAnswers, seed: int = 0, n_resamples: int = 2000
) -> ThresholdRefit:
    """How much of the student's loss on C and N another threshold regains; null of one quad.

    Args:
        teacher: On the same quads as the student.
        student: The model whose threshold is moved.
        seed: Of the halves and the resamples.
        n_resamples: Resamples of the testing half.

    Raises:
        DataError: If the quads differ between the two.
    """
    check_same_quads(teacher, student)
    chosen_on, tested_on = split_units(teacher.units, teacher.templates, seed)
    if not tested_on:
        return _nothing_to_test(chosen_on)
    threshold = best_threshold(student.take(chosen_on).margins)
    before, after = teacher.take(tested_on), student.take(tested_on)
    rows = resample_units(before.units, before.templates, n_resamples, seed)
    own, refitted = _right(after.margins, 0.0), _right(after.margins, threshold)
    lost = (_right(before.margins, 0.0) - own)[:, _CONFLICTING].mean(1)
    gained, gained_aligned = ((refitted - own)[:, c].mean(1) for c in (_CONFLICTING, _ALIGNED))
    columns = np.stack([lost, gained, gained_aligned], axis=1)
    loss, gain, aligned_gain = estimate_means(columns, rows, bounds=(-1.0, 1.0))
    return {
        "threshold": threshold,
        "regained": _estimate_regained(columns, rows, loss),
        "loss": loss,
        "gain": gain,
        "aligned_gain": aligned_gain,
        "auc4_loss": _estimate_auc4_loss(before, after, rows),
        "chosen_on": chosen_on,
        "tested_on": tested_on,
    }


def best_threshold(margins: Float[np.ndarray, "quad cell"]) -> float:
    """Threshold on the margin, in logits, with the best balanced accuracy over the cells."""
    values = np.unique(margins)
    between = (values[:-1] + values[1:]) / 2
    candidates = np.concatenate([[values[0] - 1], between, [values[-1] + 1], [0.0]])
    label, foil = (np.sort(margins[:, columns].ravel()) for columns in (_IS_LABEL, ~_IS_LABEL))
    above = len(label) - np.searchsorted(label, candidates, side="right")
    below = np.searchsorted(foil, candidates, side="right")
    best = candidates[above + below == (above + below).max()]
    return float(best[np.abs(best).argmin()])


def _nothing_to_test(chosen_on: tuple[str, ...]) -> ThresholdRefit:
    nothing = Estimate.null(ONE_QUAD)
    return {
        "threshold": 0.0,
        "regained": nothing,
        "loss": nothing,
        "gain": nothing,
        "aligned_gain": nothing,
        "auc4_loss": nothing,
        "chosen_on": chosen_on,
        "tested_on": (),
    }


def _right(
    margins: Float[np.ndarray, "quad cell"], threshold: float
) -> Float[np.ndarray, "quad cell"]:
    return ((margins > threshold) == _IS_LABEL).astype(np.float64)


def _estimate_regained(
    columns: Float[np.ndarray, "quad 3"], rows: Resamples, loss: Estimate
) -> Estimate:
    if loss.low is None or loss.low <= 0:
        return Estimate.null(NO_LOSS, loss.n)
    sums = rows.totals(columns)
    sizes = rows.totals(np.ones_like(columns))
    lost, gained, gained_aligned = replicate_means(sums, sizes, rows).T
    with np.errstate(divide="ignore", invalid="ignore"):
        regained = (gained + np.minimum(gained_aligned, 0)) / lost
    return estimate_replicates(regained, loss.n, undefined=NO_LOSS)


def _estimate_auc4_loss(teacher: QuadAnswers, student: QuadAnswers, rows: Resamples) -> Estimate:
    above, below = RANKINGS["auc4"]
    teacher_auc, student_auc = (
        replicate_auc(answers.margins[:, above], answers.margins[:, below], rows)
        for answers in (teacher, student)
    )
    return estimate_replicates(teacher_auc - student_auc, len(np.unique(rows.rows)))
