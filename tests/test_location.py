"""Where an ability was lost: every answer of the decision table, from made-up numbers."""

import pytest

from behavior.estimates import Estimate
from circuits.compare.profile.location import StageLoss, locate

Loss = tuple[float, float, float]
GONE: Loss = (0.35, 0.31, 0.39)
NONE: Loss = (0.01, -0.01, 0.03)


def losses(*numbers: Loss, teacher: tuple[float, float] = (0.99, 0.98)) -> list[StageLoss]:
    value, low = teacher
    return [
        StageLoss(
            stage=f"s{i}",
            depth=i / max(len(numbers) - 1, 1),
            teacher_stage=f"t{i}",
            teacher=Estimate(value, low, 1.0, 400),
            student=Estimate(value - loss[0], low - loss[0], 1.0, 400),
            loss=Estimate(*loss, 400),
        )
        for i, loss in enumerate(numbers)
    ]


def test_a_loss_that_lasts_to_the_end_is_located_where_it_begins() -> None:
    found = locate(losses(NONE, GONE, GONE))
    assert (found.answer, found.stage) == ("located", "s1")


def test_a_loss_that_is_made_good_later_is_none() -> None:
    assert locate(losses(NONE, GONE, NONE)).answer == "present, not used"
    found = locate(losses(GONE, NONE, GONE, GONE))
    assert (found.answer, found.stage) == ("located", "s2")


def test_information_that_is_there_to_the_end_is_present_and_not_used() -> None:
    found = locate(losses(NONE, NONE, (0.02, 0.0, 0.049)))
    assert (found.answer, found.stage) == ("present, not used", None)


@pytest.mark.parametrize(
    "end", [(0.02, -0.02, 0.05), (0.099, 0.07, 0.13), (0.12, 0.05, 0.19), (0.08, 0.06, 0.10)]
)
def test_a_final_loss_between_the_rules_is_not_located(end: Loss) -> None:
    found = locate(losses(GONE, GONE, end))
    assert (found.answer, found.stage) == ("not located", None)


def test_both_bounds_of_a_loss_have_to_hold() -> None:
    assert locate(losses((0.10, 0.051, 0.15))).answer == "located"
    assert locate(losses((0.0999, 0.051, 0.15))).answer == "not located"
    assert locate(losses((0.10, 0.05, 0.15))).answer == "not located"


def test_nothing_can_be_present_that_the_teacher_does_not_have() -> None:
    found = locate(losses(NONE, NONE, teacher=(0.52, 0.49)))
    assert found.answer == "not located"
    assert found.reason == "the core feature cannot be read at the end of the teacher either"


def test_missing_numbers_locate_nothing_and_say_why() -> None:
    assert locate([]).reason == "no stage was measured in both models"
    known = losses(NONE, GONE)
    null = Estimate.null("too few quads for this width (40 to learn from, 64 features need 128)")
    unknown = StageLoss("s2", 1.0, "t2", null, null, null)
    found = locate([*known, unknown])
    assert found.answer == "not located"
    assert found.reason == "too few quads for this width (40 to learn from, 64 features need 128)"


def test_a_gain_is_no_loss() -> None:
    gain: Loss = (-0.30, -0.34, -0.26)
    assert locate(losses(gain, gain)).answer == "present, not used"
