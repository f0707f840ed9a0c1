"""Models at the edges: perfect, silent, constant, broken; each measure has a number or a reason."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_answers import simulate_answers

from behavior.answers import QuadAnswers
from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import CELLS
from behavior.measures import measure_cells, measure_quads
from behavior.resampling import Resamples, resample_units


def _resample(answers: QuadAnswers, n: int = 200) -> Resamples:
    return resample_units(answers.units, answers.templates, n)


@pytest.fixture
def answers() -> QuadAnswers:
    return simulate_answers(3.0, 2.0, n_labels=3)


@pytest.mark.parametrize(("core", "shortcut", "share"), [(5.0, 0.0, 0.0), (0.0, 5.0, 1.0)])
def test_share_tells_what_decides(core: float, shortcut: float, share: float) -> None:
    answers = simulate_answers(core, shortcut, n=300)
    measures = measure_quads(answers, _resample(answers, 1000))
    low, high = measures["spurious_share_logits"].low, measures["spurious_share_logits"].high
    assert low is not None and high is not None
    assert low <= share <= high
    assert high - low < 0.2


def test_model_without_response_has_no_share() -> None:
    answers = simulate_answers(0.0, 0.0)
    measures = measure_quads(answers, _resample(answers))
    reason = "the model does not respond to either cue"
    assert measures["spurious_share"] == Estimate.null(reason, 120)
    assert measures["spurious_share_logits"] == Estimate.null(reason, 120)


def test_constant_model_has_numbers_or_reasons_everywhere() -> None:
    answers = simulate_answers(0.0, 0.0, noise=0.0)
    measures = measure_quads(answers, _resample(answers))
    assert measures["auc4"].value == 0.5
    assert measures["total_range"].value == 0.0
    assert measures["spurious_share"].value is None
    assert measures["ood_accuracy"].value == 0.5
    assert measures["confidence"].value == pytest.approx(0.5)
    assert measures["entropy"].value == pytest.approx(np.log(2))


def test_perfect_model_keeps_room_for_error_and_says_what_is_missing() -> None:
    answers = simulate_answers(40.0, 0.0)
    measures = measure_quads(answers, _resample(answers))
    for name in ("aligned_accuracy", "conflicting_accuracy", "min_AC_accuracy", "auc4"):
        assert measures[name].value == 1.0
        assert 0.9 < (measures[name].low or 0.0) < 0.98
    assert measures["confidence_when_wrong"] == Estimate.null("no wrong answers")
    assert measures["confidence_when_right"].value == measures["confidence"].value
    always_wrong = replace(answers, label=answers.foil, foil=answers.label)
    wrong = measure_cells(always_wrong, _resample(answers))["A"]
    assert wrong["confidence_when_right"] == Estimate.null("no right answers")


def test_extreme_logits_stay_finite() -> None:
    answers = simulate_answers(1e4, 0.0)
    measures = measure_quads(answers, _resample(answers))
    assert measures["entropy"].value == 0.0
    assert measures["core_effect"].value == 1.0


def test_single_quad_gives_values_without_intervals_and_no_share() -> None:
    answers = simulate_answers(3.0, 2.0, n=1, n_templates=1)
    measures = measure_quads(answers, _resample(answers))
    assert measures["core_effect"].value is not None
    assert measures["core_effect"].low is None
    assert measures["spurious_share"].value is None
    assert measures["aligned_accuracy"].low is not None


# Messages


def test_nan_logits_are_refused(answers: QuadAnswers) -> None:
    broken = {**answers.logits, "N": answers.logits["N"] * torch.nan}
    with pytest.raises(DataError, match="NaN or infinity"):
        replace(answers, logits=broken)


def test_missing_cell_is_named(answers: QuadAnswers) -> None:
    three = {cell: answers.logits[cell] for cell in CELLS if cell != "L"}
    with pytest.raises(DataError, match="Cell L has no logits"):
        replace(answers, logits=three)


def test_label_outside_the_logits_is_refused(answers: QuadAnswers) -> None:
    with pytest.raises(DataError, match="3 columns"):
        replace(answers, label=answers.label + 3)


def test_label_that_is_its_own_foil_is_refused(answers: QuadAnswers) -> None:
    with pytest.raises(DataError, match="same label and foil"):
        replace(answers, foil=answers.label)


def test_units_for_other_quads_are_refused(answers: QuadAnswers) -> None:
    with pytest.raises(DataError, match="'q0100' was not drawn"):
        measure_quads(answers, resample_units(answers.units[:100]))
