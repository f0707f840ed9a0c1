"""Closed-form intervals and AUC: agreement with other libraries, and coverage."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from behavior.auc import auc, auc_estimate, replicate_auc
from behavior.estimates import Estimate
from behavior.intervals import (
    estimate_gap,
    estimate_proportion,
    t_interval,
    t_prediction_interval,
    wilson_interval,
)
from behavior.resampling import resample_units


def _names(n: int) -> list[str]:
    return [f"q{i:04d}" for i in range(n)]


def _holds(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("hits", [0, 1, 7, 20])
def test_single_proportion_has_wilsons_interval(hits: int) -> None:
    expected = stats.binomtest(hits, 20).proportion_ci(method="wilson")
    assert wilson_interval(hits / 20, 20) == pytest.approx((expected.low, expected.high))
    answers = (np.arange(20) < hits)[:, None]
    estimate = estimate_proportion(answers, resample_units(_names(20), None, 2))
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_all_right_leaves_room_for_an_error() -> None:
    answers = np.ones((400, 4), dtype=bool)
    estimate = estimate_proportion(answers, resample_units(_names(400), None, 2))
    assert (estimate.value, estimate.high, estimate.n) == (1.0, 1.0, 400)
    assert estimate.low == pytest.approx(0.9905, abs=1e-4)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_proportion_of_correlated_answers_covers(correlation: float) -> None:
    generator = np.random.default_rng(0)
    resamples, covered = resample_units(_names(80), None, 2), 0
    for _ in range(500):
        own = generator.random((80, 2)) < 0.9
        shared = generator.random((80, 1)) < correlation
        answers = np.where(shared, own[:, :1], own)
        covered += _holds(estimate_proportion(answers, resamples), 0.9)
    assert covered / 500 >= 0.93


def test_equal_answers_within_units_count_once() -> None:
    answers = np.random.default_rng(1).random((50, 1)) < 0.7
    resamples = resample_units(_names(50), None, 2)
    alone = estimate_proportion(answers, resamples)
    repeated = estimate_proportion(np.repeat(answers, 4, axis=1), resamples)
    assert alone.low is not None and alone.high is not None
    assert repeated.low is not None and repeated.high is not None
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.02)


def test_listing_every_unit_twice_changes_no_proportion() -> None:
    answers = np.random.default_rng(2).random((50, 3)) < 0.95
    once = estimate_proportion(answers, resample_units(_names(50), None, 2))
    twice = estimate_proportion(
        np.concatenate([answers, answers]), resample_units(_names(50) * 2, None, 2)
    )
    assert (once.value, once.low, once.high, once.n) == pytest.approx(
        (twice.value, twice.low, twice.high, twice.n)
    )


@pytest.mark.parametrize(("first", "second"), [(0.97, 0.6), (0.9, 0.9), (0.7, 0.3)])
def test_gap_of_paired_proportions_covers_and_keeps_a_width(first: float, second: float) -> None:
    generator = np.random.default_rng(3)
    resamples, covered = resample_units(_names(80), None, 2), 0
    of_first = np.broadcast_to([True, True, False, False], (80, 4))
    for _ in range(500):
        shared = generator.random((80, 1))
        drawn = np.where(generator.random((80, 4)) < 0.4, shared, generator.random((80, 4)))
        answers = drawn < np.where(of_first, first, second)
        gap = estimate_gap(answers, resamples, first=of_first, second=~of_first)
        covered += _holds(gap, first - second)
    assert covered / 500 >= 0.93
    perfect = estimate_gap(np.ones((80, 4), bool), resamples, first=of_first, second=~of_first)
    assert perfect.value == 0.0
    assert perfect.low is not None and perfect.low < 0


def test_gap_without_one_of_the_groups_is_null() -> None:
    answers = np.ones((9, 1), dtype=bool)
    gap = estimate_gap(
        answers, resample_units(_names(9)), first=answers, second=~answers, missing="no conflict"
    )
    assert gap == Estimate.null("no conflict")


def test_interval_over_seeds_is_students() -> None:
    values = [0.61, 0.70, 0.64, 0.79, 0.76]
    estimate = t_interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert estimate.n == 5


def test_prediction_interval_holds_a_further_seed_as_often_as_it_says() -> None:
    draws = np.random.default_rng(4).normal(size=(1000, 6))
    held = [_holds(t_prediction_interval(list(map(float, row[:5]))), row[5]) for row in draws]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_one_seed_gives_no_interval_and_no_seed_no_value() -> None:
    assert t_interval([0.5]) == Estimate(0.5, None, None, 1, "one seed gives no interval")
    assert t_interval([]) == Estimate.null("no seeds")


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_auc_with_ties_is_sklearns(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    positive = generator.normal(0.7, 1, size=57).round(decimals)
    negative = generator.normal(size=31).round(decimals)
    truth = np.r_[np.ones(57), np.zeros(31)]
    expected = roc_auc_score(truth, np.r_[positive, negative])
    assert auc(positive, negative) == pytest.approx(expected, abs=1e-12)
    assert auc(positive, negative) + auc(negative, positive) == pytest.approx(1, abs=1e-12)


def test_resampled_auc_is_sklearns_with_weights() -> None:
    generator = np.random.default_rng(5)
    positive, negative = generator.normal(size=(2, 25, 2)).round(1)
    resamples = resample_units(_names(25), None, 8)
    replicates = replicate_auc(positive, negative, resamples)
    truth = np.r_[np.ones(50), np.zeros(50)]
    scores = np.r_[positive.ravel(), negative.ravel()]
    for weights, value in zip(resamples.row_weights, replicates[1:], strict=True):
        of_rows = np.tile(np.repeat(weights, 2), 2)
        expected = roc_auc_score(truth, scores, sample_weight=of_rows)
        assert value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("separation", [0.0, 1.5, 3.0])
def test_auc_interval_covers(separation: float) -> None:
    generator = np.random.default_rng(6)
    truth = float(stats.norm.cdf(separation / np.sqrt(2 * 1.5)))
    resamples, covered = resample_units(_names(80), None, 300), 0
    for _ in range(300):
        shared = generator.normal(scale=np.sqrt(0.5), size=(80, 1))
        positive = shared + separation + generator.normal(size=(80, 1))
        negative = shared + generator.normal(size=(80, 1))
        covered += _holds(auc_estimate(positive, negative, resamples), truth)
    assert covered / 300 >= 0.93


def test_perfect_separation_leaves_room_for_an_error() -> None:
    high, low = np.ones((400, 1)), np.zeros((400, 1))
    estimate = auc_estimate(high, low, resample_units(_names(400), None, 50))
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.9905, abs=1e-4)


def test_a_number_is_printed_with_its_interval_or_the_reason_why_there_is_none() -> None:
    assert str(Estimate(0.531, 0.5, 0.56, 1200)) == "0.53 (0.50 to 0.56; n = 1,200)"
    assert str(Estimate(0.5, None, None, 2, "too few")) == "0.50 (n = 2; too few)"
    assert str(Estimate.null("no quads")) == "none: no quads"
