"""The verdict on behavior: a small decision table over numbers that stand in the result.

    undecided         the teacher is below .90 on aligned or conflicting examples, the student
                      answers to neither cue, a number is missing, or intervals are too wide
    no erosion        the mean loss on C and N lies within +-equal, and less than .02 of AUC4
    threshold shift   a loss beyond delta, but the ranking is kept (less than .02 of AUC4) and a
                      threshold chosen on one half of the quads regains .80 of it on the other
    erosion           the lower ends of the loss and of the loss of AUC4 lie beyond delta and zero

Delta and equal are .10; where the teacher has seed twins, delta is what seeds alone change, and
equal is the smaller of the two (`circuits.compare.twins`).

The rules are read from the top and the first that fits decides. Where the ability was lost
(`location`, `stage`) is another question, asked of an erosion alone: `circuits.compare.explaining`
adds what the stage profile and the interventions say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from behavior.estimates import Estimate
from circuits.compare.wording import GONE, interval, percent, sized

Status = Literal["no erosion", "threshold shift", "erosion", "undecided"]

TEACHER_ACCURACY = 0.90
AUC4_LOSS = 0.02
REGAINED = 0.80
MUTE_RANGE = 0.20
MUTE_AUC4 = 0.55


@dataclass(frozen=True, slots=True)
class BehaviorEvidence:
    """The numbers that the verdict rests on.

    Attributes:
        teacher_aligned: Accuracy of the teacher on A and L.
        teacher_conflicting: Accuracy of the teacher on C and N.
        student_range: Total range of the student in probability.
        student_auc4: (A, N) ranked above (C, L) by the student.
        loss_C: Teacher minus student, in probability of the truth, on C.
        loss_N: The same on N.
        loss: Mean of the two.
        auc4_loss: AUC4 of the teacher minus AUC4 of the student.
        regained: Share of the loss that a refitted threshold regains on held-out quads.
        delta: Loss that has to be exceeded to be called one.
        equal: Loss within which two models count as equal.
        gone: What becomes of the shortcut in N; see `wording.GONE`.
    """

    teacher_aligned: Estimate
    teacher_conflicting: Estimate
    student_range: Estimate
    student_auc4: Estimate
    loss_C: Estimate
    loss_N: Estimate
    loss: Estimate
    auc4_loss: Estimate
    regained: Estimate
    delta: float = 0.10
    equal: float = 0.10
    gone: str = GONE["text"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison concludes.

    Attributes:
        status: One of the four answers.
        location: Of an erosion, once the stages have been measured: `located`, `present, not used`
            or `not located`.
        stage: Of the student, from which on it is lost.
        sentences: The conclusion first, then the numbers that led there.
    """

    status: Status
    location: str | None
    stage: str | None
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The verdict as it is stored."""
        return {
            "status": self.status,
            "location": self.location,
            "stage": self.stage,
            "sentences": list(self.sentences),
        }


def decide(evidence: BehaviorEvidence) -> Verdict:
    """The first rule that fits."""
    for rule in _RULES:
        verdict = rule(evidence)
        if verdict is not None:
            return verdict
    return _verdict(
        "undecided",
        "Undecided: the intervals are too wide, or the numbers lie between the rules.",
        *_losses(evidence),
        _ranking(evidence),
    )


def undecided(reason: str) -> Verdict:
    """The verdict on evidence from which nothing can be concluded."""
    return _verdict("undecided", reason)


def _missing(evidence: BehaviorEvidence) -> Verdict | None:
    needed = (
        evidence.teacher_aligned,
        evidence.teacher_conflicting,
        evidence.student_range,
        evidence.student_auc4,
        evidence.loss,
        evidence.auc4_loss,
    )
    for estimate in needed:
        if estimate.value is None or estimate.low is None or estimate.high is None:
            return undecided(f"Undecided: {estimate.reason or 'a number has no interval'}.")
    return None


def _weak_teacher(evidence: BehaviorEvidence) -> Verdict | None:
    for where, accuracy in (
        ("aligned", evidence.teacher_aligned),
        ("conflicting", evidence.teacher_conflicting),
    ):
        if _value(accuracy) < TEACHER_ACCURACY:
            return _verdict(
                "undecided",
                f"Undecided: the teacher itself is right on only {percent(accuracy)} of the "
                f"{where} examples (below {100 * TEACHER_ACCURACY:.0f} %), so there is no "
                "debiasing that a student could have lost.",
                *_losses(evidence),
            )
    return None


def _mute_student(evidence: BehaviorEvidence) -> Verdict | None:
    weak = _value(evidence.student_range) < MUTE_RANGE
    if not (weak and _value(evidence.student_auc4) < MUTE_AUC4):
        return None
    return _verdict(
        "undecided",
        "Undecided: the student does not respond to either cue (total range "
        f"{interval(evidence.student_range)} in probability, AUC4 "
        f"{interval(evidence.student_auc4)}), so it is no weaker debiasing but no answer at all.",
        *_losses(evidence),
    )


def _no_erosion(evidence: BehaviorEvidence) -> Verdict | None:
    loss, least = evidence.loss, evidence.equal
    equal = -least < _low(loss) and _high(loss) < least
    if not (equal and _high(evidence.auc4_loss) < AUC4_LOSS):
        return None
    return _verdict(
        "no erosion",
        "No erosion: where the shortcut misleads or is missing, the student is as good as the "
        f"teacher to within {least:.2f} (mean loss on C and N: {sized(loss)}).",
        *_losses(evidence),
        _ranking(evidence),
    )


def _threshold_shift(evidence: BehaviorEvidence) -> Verdict | None:
    regained = evidence.regained
    lost = _low(evidence.loss) > evidence.delta
    ranked = _high(evidence.auc4_loss) < AUC4_LOSS
    if not (lost and ranked and regained.value is not None and regained.value >= REGAINED):
        return None
    return _verdict(
        "threshold shift",
        "Threshold shift: the student decides worse where the shortcut misleads or is missing "
        f"(mean loss on C and N: {sized(evidence.loss)}), but ranks as well as the teacher; a "
        f"threshold chosen on other quads regains {percent(regained)} of the loss.",
        *_losses(evidence),
        _ranking(evidence),
    )


def _erosion(evidence: BehaviorEvidence) -> Verdict | None:
    if not (_low(evidence.loss) > evidence.delta and _low(evidence.auc4_loss) > 0):
        return None
    return _verdict(
        "erosion",
        "Erosion: where the shortcut misleads or is missing, the student lost "
        f"{sized(evidence.loss)} of the teacher's probability of the right answer.",
        *_losses(evidence),
        _ranking(evidence),
        _threshold(evidence),
    )


_RULES: tuple[Callable[[BehaviorEvidence], Verdict | None], ...] = (
    _missing,
    _weak_teacher,
    _mute_student,
    _no_erosion,
    _threshold_shift,
    _erosion,
)


def _losses(evidence: BehaviorEvidence) -> tuple[str, str]:
    return (
        f"Loss on C (wrong core, shortcut present): {sized(evidence.loss_C)}.",
        f"Loss on N (right core, shortcut {evidence.gone}): {sized(evidence.loss_N)}.",
    )


def _ranking(evidence: BehaviorEvidence) -> str:
    return f"AUC4 fell by {sized(evidence.auc4_loss, digits=3)}."


def _threshold(evidence: BehaviorEvidence) -> str:
    if evidence.regained.value is None:
        return f"A refitted threshold was not tested: {evidence.regained.reason}."
    return (
        f"A threshold chosen on one half of the quads regains {percent(evidence.regained)} of the "
        "loss on the other half."
    )


def _verdict(status: Status, *sentences: str) -> Verdict:
    return Verdict(status, None, None, sentences)


def _value(estimate: Estimate) -> float:
    return estimate.value if estimate.value is not None else float("nan")


def _low(estimate: Estimate) -> float:
    return estimate.low if estimate.low is not None else float("nan")


def _high(estimate: Estimate) -> float:
    return estimate.high if estimate.high is not None else float("nan")
