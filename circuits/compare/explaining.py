"""What the stage profile and the interventions add to a verdict of erosion.

Each sentence is written by one rule from numbers that stand in the result. A location is only given
to an erosion; what interventions showed is told of any verdict, also where they showed nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

from behavior.estimates import Estimate
from circuits.compare.causal.removal import Removal
from circuits.compare.causal.result import Interventions
from circuits.compare.causal.transplant import NodeTransplant
from circuits.compare.profile.location import StageLoss, locate
from circuits.compare.profile.stage_losses import stage_losses
from circuits.compare.profile.stage_reading import StageReadings
from circuits.compare.verdict import Verdict
from circuits.compare.wording import interval, number, sized
from probes.linear import readability

NOT_MEASURED = "Where it was lost is not said: what can be read at each stage was not measured."


def with_location(
    verdict: Verdict,
    losses: Sequence[StageLoss],
    debiased: Sequence[StageLoss] = (),
    untrained: Estimate | None = None,
) -> Verdict:
    """The verdict with the location of an erosion.

    Args:
        verdict: On behavior.
        losses: Of readability, teacher to student.
        debiased: The same from the directly debiased student, where there is one.
        untrained: Readability at the end of an untrained net like the student, where it was read.
    """
    if verdict.status != "erosion":
        return verdict
    if not losses:
        return replace(verdict, sentences=(*verdict.sentences, NOT_MEASURED))
    found = locate(losses)
    at = {loss.stage: loss for loss in losses}
    match found.answer:
        case "located":
            sentences = _located(at[str(found.stage)], {d.stage: d for d in debiased})
        case "present, not used":
            sentences = (_present(losses[-1], untrained),)
        case _:
            reason = f": {found.reason}" if found.reason else _unclear(losses)
            sentences = (f"Not located{reason}.",)
    return replace(
        verdict,
        location=found.answer,
        stage=found.stage,
        sentences=(*verdict.sentences, *sentences),
    )


def locating(
    readings: StageReadings,
) -> tuple[tuple[StageLoss, ...], tuple[StageLoss, ...], Estimate]:
    """What `with_location` needs of the readings of all models."""
    untrained = readings.models.get("untrained_student", ())
    last = untrained[-1].answers if untrained else None
    beside = Estimate.null("no untrained net was read")
    if last is not None and readings.resamples is not None:
        beside = readability(last.core_NL, "core_NL", readings.resamples)
    return (
        stage_losses(readings, "teacher", "student"),
        stage_losses(readings, "student_debiased", "student"),
        beside,
    )


def with_tests(verdict: Verdict, found: Interventions) -> Verdict:
    """The verdict with a sentence for each intervention that was tried."""
    said: list[str] = []
    if found.removal is not None:
        said.append(_removal(found.removal))
    if found.alignment is not None:
        said.append(found.alignment.reason)
    if found.basis is not None and not found.basis.shared and verdict.status == "erosion":
        said.append(f"Nothing of the teacher can be put into the student: {found.basis.reason}.")
    if found.transplants:
        said.append(_transplants(found.transplants))
    return replace(verdict, sentences=(*verdict.sentences, *said)) if said else verdict


def _located(loss: StageLoss, debiased: dict[str, StageLoss]) -> tuple[str, ...]:
    first = (
        f"Lost from stage {loss.stage} of the student on: without the shortcut (N against L) the "
        "core feature is readable there with accuracy "
        f"{interval(loss.student)}, in the teacher at {loss.teacher_stage} with "
        f"{interval(loss.teacher)}; a loss of {sized(loss.loss)}, and at every later stage."
    )
    other = debiased.get(loss.stage)
    if other is None or other.teacher.value is None or other == loss:
        return (first,)
    return (
        first,
        f"The directly debiased student has {interval(other.teacher)} at this stage: "
        f"{sized(other.loss)} more than the distilled one.",
    )


def _present(end: StageLoss, untrained: Estimate | None) -> str:
    beside = ""
    if untrained is not None and untrained.value is not None:
        beside = f", in an untrained net like it with {interval(untrained)}"
    return (
        "Present, not used: at its end the student holds the core feature without the shortcut as "
        f"the teacher does (N against L, readable with accuracy {interval(end.student)} and "
        f"{interval(end.teacher)}{beside}); something else outweighs it."
    )


def _unclear(losses: Sequence[StageLoss]) -> str:
    end = losses[-1]
    return (
        ": the core feature without the shortcut is not clearly lost from a stage on, nor clearly "
        f"kept to the end (loss of readability there: {sized(end.loss)})"
    )


def _removal(found: Removal) -> str:
    if not found.heads or found.found.restored.value is None:
        return f"No set of heads carries the fault ({found.searched}): none does better."
    heads = ", ".join(found.heads)
    best = number(max(found.controls, default=None), 2) if found.controls else "-"
    if found.removable:
        return (
            f"Without the heads {heads} the student regains {interval(found.found.restored)} of "
            f"the loss, net of what it costs (random sets of this shape: at most {best})."
        )
    return (
        f"No set of heads carries the fault: the best of {found.searched}, {heads}, restores "
        f"{interval(found.found.restored)} of the loss, net of what it costs (random sets of this "
        f"shape: at most {best})."
    )


def _transplants(found: Sequence[NodeTransplant]) -> str:
    credited = [each for each in found if each.has_credit]
    if not credited:
        return (
            f"Of {len(found)} nodes of the teacher put into the student none restores more than "
            "its controls."
        )
    best = max(credited, key=lambda each: each.credit.value or 0)
    return (
        f"{best.teacher} of the teacher in place of {best.student} restores "
        f"{interval(best.found.restored)} of the loss, {interval(best.credit)} of it beyond every "
        f"control ({len(credited)} of {len(found)} nodes restore more than their controls)."
    )
