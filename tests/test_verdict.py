"""The decision table gives each of its answers on numbers made to deserve it."""

from dataclasses import replace

import pytest

from behavior.estimates import Estimate
from circuits.compare.verdict import BehaviorEvidence, decide
from circuits.compare.wording import interval, percent


def number(value: float, half: float = 0.02, n: int = 400) -> Estimate:
    return Estimate(value, value - half, value + half, n)


ERODED = BehaviorEvidence(
    teacher_aligned=number(0.999, 0.001),
    teacher_conflicting=number(0.985, 0.01),
    student_range=number(0.99, 0.005),
    student_auc4=number(0.78),
    loss_C=number(0.31),
    loss_N=number(0.86),
    loss=number(0.59),
    auc4_loss=number(0.21),
    regained=number(0.02, 0.03, 200),
)
KEPT = replace(
    ERODED,
    student_auc4=number(0.999, 0.001),
    loss_C=number(0.01),
    loss_N=number(0.03),
    loss=number(0.02),
    auc4_loss=number(0.001, 0.002),
)


def test_a_loss_of_answers_and_of_ranking_is_erosion() -> None:
    verdict = decide(ERODED)
    assert verdict.status == "erosion"
    assert verdict.location is None
    assert "0.59 (0.57 to 0.61; 400 quads)" in verdict.sentences[0]


def test_equivalence_within_delta_is_no_erosion() -> None:
    assert decide(KEPT).status == "no erosion"


def test_exactly_equal_models_are_no_erosion() -> None:
    zero = Estimate(0.0, 0.0, 0.0, 400)
    same = replace(KEPT, loss=zero, loss_C=zero, loss_N=zero, auc4_loss=zero)
    assert decide(same).status == "no erosion"


def test_a_loss_that_a_threshold_regains_is_a_threshold_shift() -> None:
    shifted = replace(ERODED, auc4_loss=number(0.0, 0.005), regained=number(0.98, 0.02, 200))
    assert decide(shifted).status == "threshold shift"


def test_a_kept_ranking_that_no_threshold_regains_is_undecided() -> None:
    odd = replace(ERODED, auc4_loss=number(0.0, 0.005), regained=number(0.4))
    assert decide(odd).status == "undecided"


@pytest.mark.parametrize("field", ["teacher_aligned", "teacher_conflicting"])
def test_a_weak_teacher_leaves_it_undecided(field: str) -> None:
    verdict = decide(replace(ERODED, **{field: number(0.7)}))
    assert verdict.status == "undecided"
    assert "teacher itself is right on only 70 %" in verdict.sentences[0]


def test_a_student_that_answers_neither_cue_is_undecided() -> None:
    verdict = decide(replace(ERODED, student_range=number(0.05), student_auc4=number(0.5)))
    assert verdict.status == "undecided"
    assert "does not respond to either cue" in verdict.sentences[0]


def test_wide_intervals_are_undecided() -> None:
    assert decide(replace(ERODED, loss=number(0.12, 0.1))).status == "undecided"


def test_a_missing_number_is_named() -> None:
    verdict = decide(replace(ERODED, auc4_loss=Estimate.null("fewer than 5 quads")))
    assert verdict.status == "undecided"
    assert "fewer than 5 quads" in verdict.sentences[0]


def test_a_student_better_than_its_teacher_is_no_erosion_only_within_delta() -> None:
    better = replace(KEPT, loss=number(-0.3))
    assert decide(better).status == "undecided"
    assert decide(replace(KEPT, loss=number(-0.05))).status == "no erosion"


def test_sentences_have_no_negative_zero() -> None:
    assert percent(Estimate(-0.001, -0.004, 0.26, 10)) == "0 % (0 to 26)"
    assert interval(Estimate(-0.001, -0.02, 0.0, 10)) == "0.00 (-0.02 to 0.00)"
