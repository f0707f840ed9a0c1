"""What the student lost against the teacher, on the same quads.

    losses     teacher minus student, in probability of the truth, on the conflicting cells
               C (shared words, wrong core) and N (right core, no shortcut), and their mean
    erosion    student minus teacher, for every measure of `measure_quads`
    retention  (share teacher_plain - share student) / (share teacher_plain - share teacher):
               1 = the student kept all of the debiasing, 0 = none; null unless the interval of
               the denominator lies beyond `LEAST_DEBIASING`: of less, a share is noise

Every difference is paired: teacher and student are weighted alike in each resample. Differences
of means have bootstrap-t intervals, ECE a basic one, all others (shares, AUC, the lesser accuracy,
confidence when right or wrong) percentile intervals.
"""

from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float

from behavior.agreement import Agreement, measure_agreement
from behavior.answers import CELL_COLUMNS, QuadAnswers, check_same_quads
from behavior.calibration import replicate_calibration_error
from behavior.cues import EFFECTS, NO_RESPONSE, cue_effects, replicate_cues, responds
from behavior.estimates import Estimate, ReplicateMethod, estimate_replicates
from behavior.measures import NO_RIGHT, NO_WRONG, replicate_rankings
from behavior.resampling import Resamples, replicate_means
from behavior.statistics import estimate_means

LEAST_DEBIASING = 0.02
NO_DIFFERENCE = "the spurious shares of the plain and the debiased teacher do not differ"

_A, _N, _C, _L = (CELL_COLUMNS[cell] for cell in ("A", "N", "C", "L"))


class AnswerComparison(TypedDict):
    """What `compare_answers` returns; the module says what each part means."""

    agreement: Agreement
    losses: dict[str, Estimate]
    erosion: dict[str, Estimate]


class _Replicates(NamedTuple):
    """A statistic on the data (first) and the resamples, its units, and why it may be NaN."""

    values: Float[np.ndarray, " replicate"]
    n: int
    undefined: str = ""
    method: ReplicateMethod = "percentile"


def compare_answers(
    teacher: QuadAnswers, student: QuadAnswers, resamples: Resamples
) -> AnswerComparison:
    """Agreement, losses and erosion of a student against its teacher.

    Raises:
        DataError: If the two were not asked the same quads in the same order.
    """
    check_same_quads(teacher, student)
    return {
        "agreement": measure_agreement(teacher, student, resamples),
        "losses": measure_losses(teacher, student, resamples),
        "erosion": measure_erosion(teacher, student, resamples),
    }


def measure_losses(
    teacher: QuadAnswers, student: QuadAnswers, resamples: Resamples
) -> dict[str, Estimate]:
    """C, N and mean: by how much the student's probability of the truth is lower."""
    gained = student.label_probabilities - teacher.label_probabilities
    on_c, on_n = gained[:, _C], -gained[:, _N]
    columns = np.stack([on_c, on_n, (on_c + on_n) / 2], axis=1)
    losses = estimate_means(columns, resamples.over(teacher.units), bounds=(-1.0, 1.0))
    return dict(zip(("C", "N", "mean"), losses, strict=True))


def measure_erosion(
    teacher: QuadAnswers, student: QuadAnswers, resamples: Resamples
) -> dict[str, Estimate]:
    """Student minus teacher in every measure of `measure_quads`, under the same keys."""
    rows = resamples.over(teacher.units)
    before, after = _mean_columns(teacher), _mean_columns(student)
    columns = np.stack([after[name] - before[name] for name in before], axis=1)
    bound = np.array([_largest_difference(name) for name in before])
    means = estimate_means(columns, rows, bounds=np.stack([-bound, bound]))
    ratios_before = _replicate_ratios(teacher, resamples)
    ratios_after = _replicate_ratios(student, resamples)
    ratios = {
        name: _estimate_difference(ratios_before[name], ratios_after[name])
        for name in ratios_before
    }
    return dict(zip(before, means, strict=True)) | ratios


def retention(
    plain: QuadAnswers, teacher: QuadAnswers, student: QuadAnswers, resamples: Resamples
) -> Estimate:
    """Share of the teacher's debiasing that the student kept; null if there was none to keep.

    Args:
        plain: The teacher without debiasing (`teacher_plain`).
        teacher: The debiased teacher.
        student: The student.
        resamples: Drawn for these quads.

    Raises:
        DataError: If the three were not asked the same quads in the same order.
    """
    roles = {"teacher_plain": plain, "teacher": teacher, "student": student}
    shares: list[Float[np.ndarray, " replicate"]] = []
    for role, answers in roles.items():
        check_same_quads(teacher, answers)
        rows = resamples.over(answers.units)
        if not responds(answers.label_probabilities, rows):
            return Estimate.null(f"{role}: {NO_RESPONSE}", _n_units(rows))
        shares.append(replicate_cues(answers.label_probabilities, rows)["spurious_share"])
    n = _n_units(resamples.over(teacher.units))
    debiased, kept = shares[0] - shares[1], shares[0] - shares[2]
    removed = estimate_replicates(debiased, n)
    if not removed.excludes_zero:
        return Estimate.null(NO_DIFFERENCE, n)
    if min(abs(removed.low or 0.0), abs(removed.high or 0.0)) <= LEAST_DEBIASING:
        return Estimate.null(_hardly_debiased(removed), n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return estimate_replicates(kept / debiased, n, undefined=NO_DIFFERENCE)


def _hardly_debiased(removed: Estimate) -> str:
    return (
        "the spurious shares of the plain and the debiased teacher hardly differ (by "
        f"{removed.value:.3f}, {removed.low:.3f} to {removed.high:.3f}; more than "
        f"{LEAST_DEBIASING} is needed), so there was next to no debiasing to keep"
    )


def _mean_columns(answers: QuadAnswers) -> dict[str, Float[np.ndarray, " quad"]]:
    """The measures that are means over quads of one number each."""
    right = answers.answers.right.astype(np.float64)
    aligned, conflicting = right[:, [_A, _L]].mean(1), right[:, [_N, _C]].mean(1)
    probability, logits = cue_effects(answers.label_probabilities), cue_effects(answers.margins)
    return {
        "aligned_accuracy": aligned,
        "conflicting_accuracy": conflicting,
        "ood_accuracy": right.mean(1),
        "spurious_gap": aligned - conflicting,
        "accuracy_gap_AC": right[:, _A] - right[:, _C],
        **{name: probability[name] for name in EFFECTS},
        **{f"{name}_logits": logits[name] for name in EFFECTS},
        "confidence": answers.answers.confidence.mean(1),
        "entropy": answers.answers.entropy.mean(1),
    }


def _largest_difference(name: str) -> float:
    """The most that two models can differ by in a mean."""
    if name.endswith("_logits") or name == "entropy":
        return np.inf
    if name == "interaction":
        return 4.0
    return 1.0 if name.endswith("accuracy") or name in ("mean_margin", "confidence") else 2.0


def _replicate_ratios(answers: QuadAnswers, resamples: Resamples) -> dict[str, _Replicates]:
    """The measures that are not means over quads."""
    rows = resamples.over(answers.units)
    n = _n_units(rows)
    right = answers.answers.right.astype(np.float64)
    accuracy = replicate_means(rows.totals(right), rows.totals(np.ones_like(right)), rows)
    lesser = np.minimum(accuracy[:, _A], accuracy[:, _C])
    calibration = replicate_calibration_error(
        answers.answers.pooled, resamples.over(answers.pooled_units)
    )
    return {
        "spurious_share": _replicate_share(answers.label_probabilities, rows),
        "spurious_share_logits": _replicate_share(answers.margins, rows),
        "min_AC_accuracy": _Replicates(lesser, n),
        **{
            name: _Replicates(values, n)
            for name, values in replicate_rankings(answers, rows).items()
        },
        "confidence_when_right": _replicate_confidence(answers, rows, right=True),
        "confidence_when_wrong": _replicate_confidence(answers, rows, right=False),
        "ece": _Replicates(calibration, n, method="basic"),
    }


def _replicate_share(values: Float[np.ndarray, "quad cell"], rows: Resamples) -> _Replicates:
    share = replicate_cues(values, rows)["spurious_share"]
    if not responds(values, rows):
        share[0] = np.nan
    return _Replicates(share, _n_units(rows), NO_RESPONSE)


def _replicate_confidence(answers: QuadAnswers, rows: Resamples, *, right: bool) -> _Replicates:
    counted = answers.answers.right == right
    sums = rows.totals((answers.answers.confidence * counted).sum(1, keepdims=True))
    sizes = rows.totals(counted.sum(1, keepdims=True))
    values = replicate_means(sums, sizes, rows)[:, 0]
    return _Replicates(values, int((sizes > 0).sum()), NO_RIGHT if right else NO_WRONG)


def _estimate_difference(teacher: _Replicates, student: _Replicates) -> Estimate:
    n = min(teacher.n, student.n)
    for role, replicates in (("teacher", teacher), ("student", student)):
        if np.isnan(replicates.values[0]):
            return Estimate.null(f"{role}: {replicates.undefined}", n)
    return estimate_replicates(student.values - teacher.values, n, method=student.method)


def _n_units(resamples: Resamples) -> int:
    return len(np.unique(resamples.rows))
