"""Measures of one model: identities that must hold for any logits, and degenerate models."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from simulated_answers import duplicate, shift_margin, simulate_answers
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import multiclass_calibration_error

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.calibration import calibration_error, weighted_calibration_error
from behavior.estimates import Estimate
from behavior.examples import CELLS
from behavior.measures import measure_cells, measure_examples, measure_pairs, measure_quads
from behavior.resampling import Resamples, resample_units

KEYS = {
    "aligned_accuracy",
    "conflicting_accuracy",
    "ood_accuracy",
    "spurious_gap",
    "accuracy_gap_AC",
    "min_AC_accuracy",
    "auc",
    "auc_NL",
    "auc4",
    "confidence",
    "confidence_when_right",
    "confidence_when_wrong",
    "entropy",
    "ece",
}
CUES = (
    "core_effect",
    "shortcut_effect",
    "interaction",
    "mean_margin",
    "total_range",
    "spurious_share",
)


def _resample(answers: QuadAnswers, n: int = 200) -> Resamples:
    return resample_units(answers.units, answers.templates, n)


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def _ends(estimate: Estimate) -> tuple[float | None, float | None, float | None]:
    return estimate.value, estimate.low, estimate.high


@pytest.fixture
def answers() -> QuadAnswers:
    return simulate_answers(3.0, 2.0, n_labels=3)


# Definitions


def test_every_promised_measure_is_there_and_is_json(answers: QuadAnswers) -> None:
    measures = measure_quads(answers, _resample(answers))
    assert set(measures) == KEYS | {*CUES} | {f"{name}_logits" for name in CUES}
    for estimate in measures.values():
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low <= _value(estimate) <= estimate.high
        json.dumps(estimate.to_json(), allow_nan=False)


def test_accuracies_are_those_of_the_true_label_of_each_cell(answers: QuadAnswers) -> None:
    right = {
        cell: (answers.logits[cell].argmax(-1) == truth).double().mean().item()
        for cell, truth in zip(
            CELLS, (answers.label, answers.label, answers.foil, answers.foil), strict=True
        )
    }
    measures, cells = (f(answers, _resample(answers)) for f in (measure_quads, measure_cells))
    assert {cell: cells[cell]["accuracy"].value for cell in CELLS} == pytest.approx(right)
    aligned, conflicting = (right["A"] + right["L"]) / 2, (right["N"] + right["C"]) / 2
    assert measures["aligned_accuracy"].value == pytest.approx(aligned)
    assert measures["conflicting_accuracy"].value == pytest.approx(conflicting)
    assert measures["ood_accuracy"].value == pytest.approx((aligned + conflicting) / 2)
    assert measures["spurious_gap"].value == pytest.approx(aligned - conflicting)
    assert measures["accuracy_gap_AC"].value == pytest.approx(right["A"] - right["C"])
    assert measures["min_AC_accuracy"].value == pytest.approx(min(right["A"], right["C"]))


@pytest.mark.parametrize("suffix", ["", "_logits"])
def test_core_and_shortcut_add_up_to_the_total_range(answers: QuadAnswers, suffix: str) -> None:
    resamples = _resample(answers)
    found = measure_quads(answers, resamples)
    c, s, i, mu, total, share = (_value(found[f"{name}{suffix}"]) for name in CUES)
    assert c + s == pytest.approx(total, abs=1e-12)
    assert share == pytest.approx(s / total, abs=1e-12)
    on_c = measure_cells(answers, resamples)["C"]["margin" if suffix else "probability"]
    assert mu - c / 2 + s / 2 - i / 4 == pytest.approx(_value(on_c), abs=1e-12)


def test_auc_is_sklearns(answers: QuadAnswers) -> None:
    measures = measure_quads(answers, _resample(answers))
    for name, above, below in (("auc", "A", "C"), ("auc_NL", "N", "L"), ("auc4", "AN", "CL")):
        positive, negative = (
            answers.margins[:, [CELL_COLUMNS[c] for c in CELLS if c in cells]].ravel()
            for cells in (above, below)
        )
        truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
        expected = roc_auc_score(truth, np.r_[positive, negative])
        assert measures[name].value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("noise", [1.0, 60.0])
def test_own_calibration_error_is_torchmetrics(noise: float) -> None:
    answers = simulate_answers(3.0, 2.0, n_labels=3, noise=noise, n=300)
    table = answers.answers
    own = weighted_calibration_error(table.confidence, table.right, _resample(answers, 2))[0]
    assert own == pytest.approx(calibration_error(table), abs=2e-6)
    expected = multiclass_calibration_error(
        torch.cat([answers.logits[cell] for cell in CELLS]).softmax(-1),
        torch.cat([answers.label, answers.label, answers.foil, answers.foil]),
        num_classes=3,
        n_bins=15,
        norm="l1",
    )
    assert measure_quads(answers, _resample(answers, 2))["ece"].value == pytest.approx(
        expected.item(), abs=2e-6
    )


def test_resampled_calibration_error_is_that_of_the_resampled_answers() -> None:
    table = simulate_answers(2.0, 1.0, n=40).answers
    counts = np.random.default_rng(0).multinomial(40, [1 / 40] * 40, size=5)
    drawn = replace(resample_units([f"{i:02d}" for i in range(40)]), weights=counts.astype(float))
    replicates = weighted_calibration_error(table.confidence, table.right, drawn)
    for count, replicate in zip(counts, replicates[1:], strict=True):
        rows = np.repeat(np.arange(40), count)
        again = replace(table, logits=table.logits[rows], truth=table.truth[rows])
        assert replicate == pytest.approx(calibration_error(again), abs=2e-6)


def test_confidence_is_the_mean_over_right_and_wrong(answers: QuadAnswers) -> None:
    m = {k: _value(e) for k, e in measure_quads(answers, _resample(answers, 2)).items()}
    mixed = (
        m["ood_accuracy"] * m["confidence_when_right"]
        + (1 - m["ood_accuracy"]) * m["confidence_when_wrong"]
    )
    assert m["confidence"] == pytest.approx(mixed, abs=1e-12)


# Symmetries


def test_swapping_label_and_foil_flips_what_points_to_the_label(answers: QuadAnswers) -> None:
    resamples = _resample(answers)
    before = measure_quads(answers, resamples)
    after = measure_quads(answers.swap_label_and_foil(), resamples)
    for name in ("interaction", "interaction_logits", "mean_margin_logits"):
        assert _value(after[name]) == pytest.approx(-_value(before[name]), abs=1e-12)
        low, high = before[name].low, before[name].high
        assert low is not None and high is not None
        assert (after[name].low, after[name].high) == pytest.approx((-high, -low), abs=1e-9)
    assert after["mean_margin"].value == pytest.approx(1 - _value(before["mean_margin"]))
    mirrored = {"auc": "auc_NL", "auc_NL": "auc"}
    unchanged = {*CUES} | KEYS - {"accuracy_gap_AC", "min_AC_accuracy"}
    for name in unchanged - {"interaction", "mean_margin"}:
        other = before[mirrored.get(name, name)]
        assert _ends(after[name]) == pytest.approx(_ends(other), abs=1e-6), name


def test_swapping_label_and_foil_alone_flips_every_effect(answers: QuadAnswers) -> None:
    swapped = replace(answers, label=answers.foil, foil=answers.label)
    before, after = (measure_quads(a, _resample(a)) for a in (answers, swapped))
    for name in CUES[:-1]:
        logits = f"{name}_logits"
        assert _value(after[logits]) == pytest.approx(-_value(before[logits]), abs=1e-12)
        if name != "mean_margin":
            assert _value(after[name]) == pytest.approx(-_value(before[name]), abs=1e-12)
    assert after["auc4"].value == pytest.approx(1 - _value(before["auc4"]))
    assert after["spurious_share"].value == pytest.approx(_value(before["spurious_share"]))


def test_listing_every_quad_twice_changes_nothing(answers: QuadAnswers) -> None:
    twice = duplicate(answers)
    before, after = (
        {**measure_quads(a, _resample(a)), **measure_cells(a, _resample(a))["C"]}
        for a in (answers, twice)
    )
    for name, estimate in before.items():
        assert after[name].n == estimate.n, name
        assert _ends(after[name]) == pytest.approx(_ends(estimate), abs=1e-6), name


def test_order_of_the_quads_does_not_matter(answers: QuadAnswers) -> None:
    order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(1))
    shuffled = QuadAnswers(
        {cell: answers.logits[cell][order] for cell in CELLS},
        answers.label[order],
        answers.foil[order],
        tuple(answers.units[i] for i in order),
        tuple(answers.templates[i] for i in order),
    )
    before, after = (measure_quads(a, _resample(a)) for a in (answers, shuffled))
    for name, estimate in before.items():
        assert _ends(after[name]) == pytest.approx(_ends(estimate), abs=1e-6), name


def test_renaming_the_task_labels_changes_nothing() -> None:
    answers = simulate_answers(3.0, 2.0)
    flipped = replace(
        answers,
        logits={cell: answers.logits[cell].flip(-1) for cell in CELLS},
        label=1 - answers.label,
        foil=1 - answers.foil,
    )
    before, after = (measure_quads(a, _resample(a)) for a in (answers, flipped))
    for name, estimate in before.items():
        assert _ends(after[name]) == pytest.approx(_ends(estimate), abs=1e-6), name


def test_constant_on_the_label_moves_the_mean_margin_but_no_ranking(answers: QuadAnswers) -> None:
    before, after = (measure_quads(a, _resample(a)) for a in (answers, shift_margin(answers, 6.0)))
    for name in ("auc", "auc_NL", "auc4"):
        assert after[name].value == pytest.approx(_value(before[name]), abs=1e-12)
    moved = _value(after["mean_margin_logits"]) - _value(before["mean_margin_logits"])
    assert moved == pytest.approx(6.0)


# Examples and pairs


def test_examples_are_measured_as_the_cell_that_holds_them(answers: QuadAnswers) -> None:
    resamples = _resample(answers)
    cell = measure_cells(answers, resamples)["C"]
    examples = measure_examples(answers.logits["C"], answers.foil, resamples)
    assert set(examples) == set(cell) - {"margin", "probability"}
    for name, estimate in examples.items():
        assert _ends(estimate) == pytest.approx(_ends(cell[name])), name


def test_examples_with_known_alignment_have_a_gap(answers: QuadAnswers) -> None:
    logits = torch.cat([answers.logits["A"], answers.logits["C"], answers.logits["N"]])
    labels = torch.cat([answers.label, answers.foil, answers.label])
    aligned = [True] * 120 + [False] * 120 + [None] * 120
    measures = measure_examples(logits, labels, aligned=aligned)
    quads = measure_quads(answers, _resample(answers))
    assert measures["spurious_gap"].value == pytest.approx(_value(quads["accuracy_gap_AC"]))
    unknown = measure_examples(logits, labels, aligned=[None] * 360)
    assert unknown["spurious_gap"].reason == "one of the two groups has no examples"


def test_pairs_of_one_row_have_its_effect_and_auc(answers: QuadAnswers) -> None:
    resamples = _resample(answers)
    quads, cells = measure_quads(answers, resamples), measure_cells(answers, resamples)
    sides = answers.logits["A"], answers.logits["C"]
    core = measure_pairs(*sides, answers.label, answers.foil, resamples, contrast="core")
    assert _ends(core["auc"]) == pytest.approx(_ends(quads["auc"]))
    assert _ends(core["min_accuracy"]) == pytest.approx(_ends(quads["min_AC_accuracy"]))
    assert _ends(core["accuracy_gap"]) == pytest.approx(_ends(quads["accuracy_gap_AC"]))
    fall = _value(cells["A"]["margin"]) - _value(cells["C"]["margin"])
    assert core["effect_logits"].value == pytest.approx(fall)
    shortcut = measure_pairs(*sides, answers.label, answers.foil, resamples, contrast="shortcut")
    assert set(shortcut) == {"effect", "effect_logits"}
