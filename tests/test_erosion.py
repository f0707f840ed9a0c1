"""Two models on the same quads: differences, agreement, retention, threshold refit."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax
from simulated_answers import duplicate, shift_margin, simulate_answers
from sklearn.metrics import cohen_kappa_score

from behavior.agreement import cohen_kappa, js_divergence, kl_divergence, weighted_kappa
from behavior.answers import QuadAnswers
from behavior.erosion import AnswerComparison, compare_answers, measure_losses, retention
from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.measures import measure_quads
from behavior.resampling import Resamples, resample_units
from behavior.threshold import best_threshold, threshold_refit


def _resample(answers: QuadAnswers, n: int = 200) -> Resamples:
    return resample_units(answers.units, answers.templates, n)


def _flat(comparison: AnswerComparison) -> dict[str, Estimate]:
    agreement = {
        f"{group}.{split}.{name}": estimate
        for group, splits in comparison["agreement"].items()
        for split, measures in splits.items()
        for name, estimate in measures.items()
    }
    return agreement | comparison["losses"] | comparison["erosion"]


def _loss_on_n(teacher: QuadAnswers, student: QuadAnswers) -> Estimate:
    return measure_losses(teacher, student, _resample(teacher, 500))["N"]


@pytest.fixture
def teacher() -> QuadAnswers:
    return simulate_answers(5.0, 0.5, seed=1)


@pytest.fixture
def student() -> QuadAnswers:
    return simulate_answers(1.5, 3.5, seed=2)


# Differences


def test_model_against_itself_differs_in_nothing(teacher: QuadAnswers) -> None:
    comparison = compare_answers(teacher, teacher, _resample(teacher))
    for name, estimate in {**comparison["losses"], **comparison["erosion"]}.items():
        assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0), name
    whole = comparison["agreement"]["all"]["all"]
    assert (whole["rate"].value, whole["kappa"].value) == (1.0, 1.0)
    assert (whole["kl"].value, whole["js"].value) == (0.0, 0.0)


def test_swapping_teacher_and_student_flips_every_difference(
    teacher: QuadAnswers, student: QuadAnswers
) -> None:
    resamples = _resample(teacher)
    forward, back = (
        compare_answers(*models, resamples) for models in ((teacher, student), (student, teacher))
    )
    for part in ("losses", "erosion"):
        for name, estimate in forward[part].items():
            other = back[part][name]
            assert estimate.value is not None and estimate.low is not None
            assert estimate.high is not None
            assert (other.value, other.low, other.high) == pytest.approx(
                (-estimate.value, -estimate.high, -estimate.low), abs=1e-9
            ), name
    rates = [c["agreement"]["C"]["all"]["rate"] for c in (forward, back)]
    assert rates[0] == rates[1]


def test_erosion_is_the_difference_of_the_two_models(
    teacher: QuadAnswers, student: QuadAnswers
) -> None:
    resamples = _resample(teacher)
    before, after = (measure_quads(answers, resamples) for answers in (teacher, student))
    erosion = compare_answers(teacher, student, resamples)["erosion"]
    assert set(erosion) == set(before)
    for name, estimate in erosion.items():
        was, became = before[name].value, after[name].value
        assert was is not None and became is not None
        assert estimate.value == pytest.approx(became - was, abs=1e-9), name


def test_losses_are_those_of_the_truth(teacher: QuadAnswers, student: QuadAnswers) -> None:
    resamples = _resample(teacher)
    losses = compare_answers(teacher, student, resamples)["losses"]
    p, q = teacher.label_probabilities.mean(0), student.label_probabilities.mean(0)
    on_n, on_c = p[1] - q[1], (1 - p[2]) - (1 - q[2])
    assert losses["N"].value == pytest.approx(on_n)
    assert losses["C"].value == pytest.approx(on_c)
    assert losses["mean"].value == pytest.approx((on_n + on_c) / 2)


def test_loss_interval_covers() -> None:
    covered, expected = 0, simulate_answers(3.0, 1.0, seed=9, n=100_000).label_probabilities
    truth = simulate_answers(5.0, 0.5, seed=8, n=100_000).label_probabilities[:, 1].mean()
    truth -= expected[:, 1].mean()
    for seed in range(200):
        before = simulate_answers(5.0, 0.5, seed=2 * seed + 10, n=80)
        after = simulate_answers(3.0, 1.0, seed=2 * seed + 11, n=80)
        loss = _loss_on_n(before, after)
        assert loss.low is not None and loss.high is not None
        covered += loss.low <= truth <= loss.high
    assert covered / 200 >= 0.92


def test_listing_every_quad_twice_changes_nothing(
    teacher: QuadAnswers, student: QuadAnswers
) -> None:
    once = _flat(compare_answers(teacher, student, _resample(teacher)))
    pair = duplicate(teacher), duplicate(student)
    twice = _flat(compare_answers(*pair, _resample(pair[0])))
    for name, estimate in once.items():
        other = twice[name]
        assert (other.n, other.reason) == (estimate.n, estimate.reason), name
        if estimate.value is not None:
            assert (other.value, other.low, other.high) == pytest.approx(
                (estimate.value, estimate.low, estimate.high), abs=1e-6
            ), name


def test_share_of_a_model_without_response_has_no_difference(teacher: QuadAnswers) -> None:
    silent = simulate_answers(0.0, 0.0)
    erosion = compare_answers(teacher, silent, _resample(teacher))["erosion"]
    assert erosion["spurious_share"].value is None
    assert erosion["spurious_share"].reason == ("student: the model does not respond to either cue")
    assert erosion["auc4"].value is not None


def test_other_quads_are_refused(teacher: QuadAnswers) -> None:
    other = simulate_answers(1.0, 1.0, n=60)
    with pytest.raises(DataError, match="asked different quads"):
        compare_answers(teacher, other, _resample(teacher))


# Agreement


def test_agreement_is_told_by_group_and_by_whether_the_teacher_is_right(
    teacher: QuadAnswers, student: QuadAnswers
) -> None:
    agreement = compare_answers(teacher, student, _resample(teacher))["agreement"]
    assert set(agreement) == {"all", "A", "N", "C", "L"}
    right, same = (
        teacher.answers.right[:, 2],
        teacher.answers.predictions[:, 2] == student.answers.predictions[:, 2],
    )
    assert agreement["C"]["all"]["rate"].value == pytest.approx(same.mean())
    assert agreement["C"]["teacher_right"]["rate"].value == pytest.approx(same[right].mean())
    assert agreement["C"]["teacher_wrong"]["rate"].value == pytest.approx(same[~right].mean())
    assert agreement["C"]["teacher_wrong"]["rate"].n == (~right).sum()


def test_kappa_is_sklearns_on_the_data_and_on_every_resample() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(3, size=(2, 40, 2))
    second = np.where(generator.random((40, 2)) < 0.5, first, second)
    where = generator.random((40, 2)) < 0.8
    resamples = resample_units([f"{i:02d}" for i in range(40)], None, 6)
    replicates = weighted_kappa(first, second, 3, resamples, where)
    assert replicates[0] == pytest.approx(cohen_kappa(first[where], second[where], 3), abs=1e-6)
    weightings = [np.ones(40), *resamples.weights]
    for weights, replicate in zip(weightings, replicates, strict=True):
        of_rows = np.repeat(weights[:, None], 2, axis=1)[where]
        expected = cohen_kappa_score(first[where], second[where], sample_weight=of_rows)
        assert replicate == pytest.approx(expected, abs=1e-12)


def test_kappa_of_one_answer_throughout_is_null(student: QuadAnswers) -> None:
    perfect = simulate_answers(60.0, 0.0, n_labels=2)
    one_label = perfect.take(perfect.units[::2])
    other = student.take(perfect.units[::2])
    kappa = compare_answers(one_label, other, _resample(one_label))["agreement"]["A"]["all"]
    assert kappa["kappa"].value is None
    assert "same answer" in (kappa["kappa"].reason or "")
    wrong = compare_answers(one_label, other, _resample(one_label))["agreement"]["all"]
    for estimate in wrong["teacher_wrong"].values():
        assert estimate == Estimate.null("the teacher gives no wrong answers")


def test_divergences_are_scipys_and_have_their_range() -> None:
    logits = np.random.default_rng(1).normal(scale=3, size=(2, 50, 3))
    p, q = softmax(logits, axis=-1)
    log_p, log_q = np.log(p), np.log(q)
    np.testing.assert_allclose(kl_divergence(log_p, log_q), rel_entr(p, q).sum(-1), atol=1e-12)
    js = js_divergence(log_p, log_q)
    np.testing.assert_allclose(js, jensenshannon(p, q, axis=-1) ** 2, atol=1e-12)
    np.testing.assert_allclose(js, js_divergence(log_q, log_p), atol=1e-12)
    assert (js <= np.log(2)).all()
    assert kl_divergence(log_p, log_p).max() == 0.0
    far = np.array([[0.0, -2000.0]]), np.array([[-2000.0, 0.0]])
    assert kl_divergence(*far)[0] == 2000.0
    assert js_divergence(*far)[0] == pytest.approx(np.log(2))


# Retention


def test_retention_is_one_for_the_teacher_and_zero_for_the_plain_teacher(
    teacher: QuadAnswers,
) -> None:
    plain, resamples = simulate_answers(0.5, 5.0, seed=3), _resample(teacher)
    kept_all = retention(plain, teacher, teacher, resamples)
    assert (kept_all.value, kept_all.low, kept_all.high) == (1.0, 1.0, 1.0)
    kept_none = retention(plain, teacher, plain, resamples)
    assert (kept_none.value, kept_none.low, kept_none.high) == (0.0, 0.0, 0.0)
    between = retention(plain, teacher, simulate_answers(3.0, 3.0, seed=4), resamples)
    assert between.value is not None
    assert 0.2 < between.value < 0.8


def test_retention_of_no_debiasing_is_null(teacher: QuadAnswers, student: QuadAnswers) -> None:
    resamples = _resample(teacher)
    assert retention(teacher, teacher, student, resamples).reason == (
        "the spurious shares of the plain and the debiased teacher do not differ"
    )
    debiased, hardly = (simulate_answers(20.0, size, seed=3, n=400) for size in (0.0, 9.0))
    reason = retention(hardly, debiased, debiased, _resample(debiased)).reason or ""
    assert "hardly differ" in reason and "next to no debiasing to keep" in reason
    silent = simulate_answers(0.0, 0.0)
    assert (retention(silent, teacher, student, resamples).reason or "").startswith("teacher_plain")


# Threshold refit


@pytest.mark.parametrize("constant", [9.5, -12.0])
def test_shifted_threshold_is_found_and_regains_the_loss(constant: float) -> None:
    teacher = simulate_answers(12.0, 0.0, seed=5, n=200)
    student = shift_margin(teacher, constant)
    refit = threshold_refit(teacher, student)
    assert refit["threshold"] == pytest.approx(constant, abs=4)
    regained = refit["regained"]
    assert regained.low is not None and regained.low > 0.9
    loss = refit["auc4_loss"]
    assert (loss.low, loss.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_lost_ability_is_not_regained_by_any_threshold() -> None:
    teacher = simulate_answers(12.0, 0.0, seed=6, n=200)
    student = simulate_answers(0.0, 9.0, seed=7, n=200)
    refit = threshold_refit(teacher, student)
    assert refit["regained"].high is not None and refit["regained"].high < 0.2
    assert refit["auc4_loss"].low is not None and refit["auc4_loss"].low > 0.2


def test_refit_chooses_and_tests_on_different_quads(
    teacher: QuadAnswers, student: QuadAnswers
) -> None:
    refit = threshold_refit(teacher, student, seed=3)
    assert set(refit["chosen_on"]) | set(refit["tested_on"]) == set(teacher.units)
    assert not set(refit["chosen_on"]) & set(refit["tested_on"])
    assert refit["loss"].n == len(refit["tested_on"]) == 60
    moved = {cell: scores.clone() for cell, scores in student.logits.items()}
    tested = [i for i, unit in enumerate(student.units) if unit in set(refit["tested_on"])]
    for scores in moved.values():
        scores[tested] += torch.tensor([30.0, 0.0], dtype=scores.dtype)
    other = QuadAnswers(moved, student.label, student.foil, student.units, student.templates)
    assert threshold_refit(teacher, other, seed=3)["threshold"] == refit["threshold"]


def test_without_a_loss_there_is_nothing_to_regain(teacher: QuadAnswers) -> None:
    refit = threshold_refit(teacher, teacher)
    assert refit["regained"] == Estimate.null("the student loses nothing on C and N", 60)
    assert refit["auc4_loss"].value == 0.0


def test_one_quad_is_not_split_but_compared() -> None:
    one = simulate_answers(3.0, 2.0, n=1, n_templates=1)
    assert threshold_refit(one, one)["regained"].reason == "one quad cannot be split into halves"
    comparison = compare_answers(one, one, _resample(one))
    assert comparison["losses"]["mean"].value == 0.0
    assert retention(one, one, one, _resample(one)).value is None


def test_threshold_stays_at_zero_where_nothing_is_better() -> None:
    separated = np.array([[3.0, 2.0, -2.0, -3.0], [4.0, 1.0, -1.0, -2.0]])
    assert best_threshold(separated) == 0.0
    assert best_threshold(separated + 10) == 10.0
    always_label = np.full((3, 4), 2.0)
    assert best_threshold(always_label) == 0.0


def test_best_threshold_beats_every_other() -> None:
    margins = simulate_answers(2.0, 1.0, seed=8).margins + 1.7
    is_label = np.array([True, True, False, False])

    def accuracy(threshold: float) -> float:
        return float(((margins > threshold) == is_label).mean())

    best = accuracy(best_threshold(margins))
    assert best > accuracy(0.0)
    assert all(best >= accuracy(t) for t in np.linspace(-20, 20, 4001))
