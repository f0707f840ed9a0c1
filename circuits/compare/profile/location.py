"""Where an ability was lost: a decision table over the loss of readability at each stage.

For an erosion, with the loss of the core feature on N and L, teacher minus student, stage by stage:

    located             a loss of at least .10, its lower end above .05, at a stage and at every
                        later one: lost from the first such stage on
    present, not used   at the end the upper end of the loss is below .05: still readable, and
                        outvoted
    not located         anything else, and where the numbers are missing

"Present, not used" takes a teacher in which the feature is readable at the end; where it is not,
there is nothing that could be lost, and nothing is located.

The table says where information is gone, not which component did it. A loss at one stage that a
later stage makes good is no loss: the student only reads later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from behavior.estimates import Estimate

Answer = Literal["located", "present, not used", "not located"]

LOSS = 0.10
LEAST_LOSS = 0.05
KEPT = 0.05
CHANCE = 0.50


@dataclass(frozen=True, slots=True)
class StageLoss:
    """Readability of the core feature on N and L at one stage of the student, as accuracies.

    Attributes:
        stage: Of the student.
        depth: Its relative depth.
        teacher_stage: The stage of the teacher that it is compared with.
        teacher: Readability there.
        student: Readability here.
        loss: Teacher minus student, on the same quads.
    """

    stage: str
    depth: float
    teacher_stage: str
    teacher: Estimate
    student: Estimate
    loss: Estimate


@dataclass(frozen=True, slots=True)
class Location:
    """Where an ability was lost.

    Attributes:
        answer: One of the three.
        stage: Stage of the student from which on it is lost; None unless located.
        reason: Why nothing can be said; None if the numbers are there.
    """

    answer: Answer
    stage: str | None = None
    reason: str | None = None


def locate(losses: Sequence[StageLoss]) -> Location:
    """The answer for an erosion, from the losses in the order of their depth."""
    if not losses:
        return Location("not located", reason="no stage was measured in both models")
    missing = next((each.loss for each in losses if each.loss.low is None), None)
    if missing is not None:
        return Location("not located", reason=missing.reason)
    first = _first_of_lasting_loss(losses)
    if first is not None:
        return Location("located", first.stage)
    end = losses[-1]
    if end.teacher.low is None or end.teacher.low <= CHANCE:
        reason = "the core feature cannot be read at the end of the teacher either"
        return Location("not located", reason=reason)
    if end.loss.high is not None and end.loss.high < KEPT:
        return Location("present, not used")
    return Location("not located")


def _first_of_lasting_loss(losses: Sequence[StageLoss]) -> StageLoss | None:
    found = None
    for each in reversed(losses):
        value, low = each.loss.value, each.loss.low
        if value is None or low is None or value < LOSS or low <= LEAST_LOSS:
            break
        found = each
    return found
