"""What stages and interventions add to a verdict: each sentence by one rule."""

from dataclasses import replace

import pytest

from behavior.estimates import Estimate
from circuits.compare.causal.basis import StreamBasis
from circuits.compare.causal.removal import Removal
from circuits.compare.causal.restoring import Restored
from circuits.compare.causal.result import Interventions
from circuits.compare.causal.transplant import NodeTransplant
from circuits.compare.explaining import NOT_MEASURED, with_location, with_tests
from circuits.compare.profile.location import StageLoss
from circuits.compare.verdict import Verdict

ERODED = Verdict("erosion", None, None, ("Erosion: ...",))
NONE = Estimate.null("the student loses nothing on C and N")


def number(value: float, half: float = 0.02, n: int = 400) -> Estimate:
    return Estimate(value, value - half, value + half, n)


def profile(*losses: float) -> list[StageLoss]:
    depths = [i / (len(losses) - 1) for i in range(len(losses))]
    return [
        StageLoss(f"m{i}", depth, f"m{i}", number(0.95), number(0.95 - loss), number(loss))
        for i, (depth, loss) in enumerate(zip(depths, losses, strict=True))
    ]


def test_a_lasting_loss_is_located_and_the_debiased_student_stands_beside() -> None:
    found = with_location(ERODED, profile(0.0, 0.3, 0.4), profile(0.0, 0.2, 0.3))
    assert (found.location, found.stage) == ("located", "m1")
    assert "0.65 (0.63 to 0.67)" in found.sentences[1]
    assert "The directly debiased student has 0.95" in found.sentences[2]
    same = with_location(ERODED, profile(0.0, 0.3, 0.4), profile(0.0, 0.3, 0.4))
    assert len(same.sentences) == 2


def test_what_is_kept_to_the_end_is_present_and_an_untrained_net_is_named() -> None:
    found = with_location(ERODED, profile(0.3, 0.01, 0.01), untrained=number(0.6))
    assert (found.location, found.stage) == ("present, not used", None)
    assert "in an untrained net like it with 0.60" in found.sentences[-1]


def test_what_is_neither_is_not_located_and_what_was_not_measured_is_not_answered() -> None:
    assert with_location(ERODED, profile(0.0, 0.06, 0.06)).location == "not located"
    found = with_location(ERODED, ())
    assert found.location is None
    assert found.sentences[-1] == NOT_MEASURED


@pytest.mark.parametrize("status", ["no erosion", "threshold shift", "undecided"])
def test_only_an_erosion_is_located(status: str) -> None:
    verdict = replace(ERODED, status=status)  # pyright: ignore[reportArgumentType]
    assert with_location(verdict, profile(0.0, 0.3, 0.4)) == verdict


def removal(value: float, *, removable: bool) -> Removal:
    found = Restored(number(value), number(value / 2), number(0.0))
    return Removal(("a1.h0",), "all 255 sets", found, (0.1, 0.02), 1 / 3, removable)


def test_a_removable_set_is_named_and_none_is_a_finding() -> None:
    yes = with_tests(ERODED, Interventions(removal=removal(0.9, removable=True)))
    assert yes.sentences[-1].startswith("Without the heads a1.h0 the student regains 0.90")
    no = with_tests(ERODED, Interventions(removal=removal(0.1, removable=False)))
    assert no.sentences[-1].startswith("No set of heads carries the fault: the best of all 255")
    assert "at most 0.10" in no.sentences[-1]
    nothing = Removal((), "all 255 sets", Restored(NONE, NONE, NONE), (), None, False)
    said = with_tests(ERODED, Interventions(removal=nothing)).sentences[-1]
    assert said == "No set of heads carries the fault (all 255 sets): none does better."


def test_transplants_count_beyond_their_controls_alone() -> None:
    def node(credit: float) -> NodeTransplant:
        found = Restored(number(0.8), number(0.4), number(0.0))
        return NodeTransplant("a0.h1", "a0.h2", found, {"other example": 0.3}, number(credit), 0.6)

    with_credit = with_tests(ERODED, Interventions(transplants=(node(0.5), node(-0.1))))
    assert "a0.h2 of the teacher in place of a0.h1 restores 0.80" in with_credit.sentences[-1]
    assert "1 of 2 nodes" in with_credit.sentences[-1]
    without = with_tests(ERODED, Interventions(transplants=(node(0.01),)))
    assert "none restores more than its controls" in without.sentences[-1]


def test_streams_that_differ_are_said_of_an_erosion() -> None:
    basis = StreamBasis(False, 0.2, (0, 1), "the streams point different ways (mean cosine 0.20)")
    assert "different ways" in with_tests(ERODED, Interventions(basis=basis)).sentences[-1]
    kept = replace(ERODED, status="no erosion")
    assert with_tests(kept, Interventions(basis=basis)) == kept
    assert with_tests(kept, Interventions("interventions were left out")) == kept
