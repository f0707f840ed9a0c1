"""Statistics: coverage on simulated data with known truth, and identities of the bootstrap."""

import numpy as np
import pytest
from scipy import stats

from behavior.estimates import Estimate, estimate_replicates
from behavior.resampling import Resamples, resample_units
from behavior.statistics import (
    benjamini_hochberg,
    bootstrap,
    bootstrap_mean,
    equivalence_test,
    estimate_means,
    permutation_test_paired,
    sign_flip_test,
)


def _names(n: int) -> list[str]:
    return [f"q{i:04d}" for i in range(n)]


def _covered(values: np.ndarray, truth: float, resamples: Resamples, method: str = "t") -> float:
    interval = bootstrap_mean(values, resamples, "t" if method == "t" else "percentile")
    return float(((interval.low <= truth) & (truth <= interval.high)).mean())


# Intervals of means


@pytest.mark.parametrize("n_units", [60, 100])
def test_t_interval_covers_the_mean_of_skewed_clusters_within_templates(n_units: int) -> None:
    generator = np.random.default_rng(n_units)
    template = np.arange(n_units) % 6
    cluster = 2.0 * template[:, None] + generator.exponential(size=(n_units, 400))
    rows = np.repeat(cluster, 2, axis=0) + generator.exponential(0.5, size=(2 * n_units, 400))
    units = [unit for unit in _names(n_units) for _ in range(2)]
    resamples = resample_units(units, [f"t{i}" for i in np.repeat(template, 2)])
    assert _covered(rows, 2 * template.mean() + 1.5, resamples) >= 0.93


def test_t_interval_covers_rare_large_effects_where_the_percentile_interval_does_not() -> None:
    generator = np.random.default_rng(3)
    rare = generator.random((100, 400)) < 0.05
    values = rare * generator.normal(3, 1, size=rare.shape) + 0.01 * generator.normal(
        size=rare.shape
    )
    resamples = resample_units(_names(100))
    covered = _covered(values, 0.15, resamples)
    assert covered >= 0.93
    assert _covered(values, 0.15, resamples, "percentile") < covered - 0.02


def test_t_interval_covers_the_mean_of_a_subset_of_unknown_size() -> None:
    generator = np.random.default_rng(4)
    values = 1 - 0.5 * generator.beta(1, 3, size=(100, 400))
    counted = generator.random((100, 400)) < 0.15
    interval = bootstrap_mean(values, resample_units(_names(100)), "t", where=counted)
    assert ((interval.low <= 0.875) & (interval.high >= 0.875)).mean() >= 0.93


def test_t_interval_of_normal_data_is_students() -> None:
    values = np.random.default_rng(5).normal(size=200)
    interval = bootstrap_mean(values, resample_units(_names(200), None, 20_000), "t")
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.01)


@pytest.mark.parametrize("method", ["t", "percentile"])
def test_means_do_not_depend_on_what_else_is_measured(method: str) -> None:
    values = np.random.default_rng(6).normal(size=(40, 2, 200))
    resamples = resample_units(_names(40), ["a"] * 15 + ["b"] * 25, 200)
    kind = "t" if method == "t" else "percentile"
    together = bootstrap_mean(values, resamples, kind)
    alone = bootstrap_mean(values[:, 1, 7], resamples, kind)
    np.testing.assert_allclose([end[1, 7] for end in together], alone, rtol=1e-12)


@pytest.mark.parametrize("method", ["t", "percentile"])
def test_listing_every_unit_twice_changes_no_interval(method: str) -> None:
    values = np.random.default_rng(7).exponential(size=(30, 3))
    units, templates = _names(30), [f"t{i % 3}" for i in range(30)]
    kind = "t" if method == "t" else "percentile"
    once = bootstrap_mean(values, resample_units(units, templates), kind)
    twice = bootstrap_mean(
        np.concatenate([values, values]), resample_units(units * 2, templates * 2), kind
    )
    np.testing.assert_allclose(once, twice, rtol=1e-12)


def test_negated_values_have_the_negated_interval() -> None:
    values = np.random.default_rng(8).exponential(size=50)
    resamples = resample_units(_names(50))
    interval, negated = (bootstrap_mean(v, resamples, "t") for v in (values, -values))
    np.testing.assert_allclose([negated.low, negated.high], [-interval.high, -interval.low])


def test_constant_values_have_an_interval_of_no_width() -> None:
    estimate = estimate_means(np.zeros((20, 1)), resample_units(_names(20)))[0]
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)


def test_interval_stays_within_the_possible_range() -> None:
    values = np.random.default_rng(9).exponential(size=(20, 1))
    resamples = resample_units(_names(20))
    free, cut = (
        estimate_means(values, resamples, bounds=bounds)[0] for bounds in (None, (0.0, 1.2))
    )
    assert free.high is not None
    assert free.high > 1.2
    assert (cut.low, cut.high) == (free.low, 1.2)


def test_too_few_units_give_a_value_without_an_interval() -> None:
    estimate = estimate_means(np.arange(4.0)[:, None], resample_units(_names(4)))[0]
    assert (estimate.value, estimate.low, estimate.high) == (1.5, None, None)
    assert estimate.reason == "fewer than 5 units give no interval"


def test_mean_over_no_rows_is_null() -> None:
    nothing = np.zeros((9, 1), dtype=bool)
    estimate = estimate_means(
        np.ones((9, 1)), resample_units(_names(9)), where=nothing, missing="no wrong answers"
    )[0]
    assert estimate == Estimate.null("no wrong answers")


def test_bootstrap_of_a_weighted_mean_is_the_percentile_interval() -> None:
    values = np.random.default_rng(9).exponential(size=40)
    resamples = resample_units(_names(40), ["a"] * 20 + ["b"] * 20)
    estimate = bootstrap(lambda weights: weights @ values / weights.sum(1), resamples)
    assert estimate.low is not None and estimate.high is not None
    np.testing.assert_allclose(
        [estimate.value, estimate.low, estimate.high], bootstrap_mean(values, resamples)
    )


def test_percentile_interval_of_a_ratio_covers() -> None:
    generator = np.random.default_rng(10)
    resamples, covered = resample_units(_names(80), None, 500), 0
    for _ in range(300):
        below = generator.exponential(size=80) + 0.5
        above = 0.4 * below + generator.normal(scale=0.3, size=80)
        estimate = bootstrap(lambda w, a=above, b=below: (w @ a) / (w @ b), resamples)
        assert estimate.low is not None and estimate.high is not None
        covered += estimate.low <= 0.4 <= estimate.high
    assert covered / 300 >= 0.92


def test_statistic_that_is_not_defined_is_null_with_its_reason() -> None:
    resamples = resample_units(_names(10))
    undefined = bootstrap(lambda w: np.full(len(w), np.nan), resamples, undefined="no response")
    assert undefined == Estimate.null("no response", 10)


def test_basic_interval_reflects_the_resamples_and_holds_the_value() -> None:
    resampled = np.linspace(0.2, 0.4, 101)
    basic = estimate_replicates(np.r_[0.15, resampled], 50, method="basic", bounds=(0.0, 1.0))
    assert (basic.low, basic.value, basic.high) == pytest.approx((0.0, 0.15, 0.15))


# Tests


def test_sign_flip_p_is_exact_for_few_units_and_agrees_with_scipy() -> None:
    values = np.random.default_rng(11).normal(0.4, 1, size=(10, 3))
    expected = stats.permutation_test(
        (values,),
        lambda sample, axis: sample.mean(axis),
        permutation_type="samples",
        n_resamples=np.inf,
        axis=0,
    )
    np.testing.assert_allclose(sign_flip_test(values), expected.pvalue, rtol=1e-12)


def test_sampled_sign_flips_agree_with_all_of_them() -> None:
    values = np.random.default_rng(12).normal(0.5, 1, size=13)
    sampled = sign_flip_test(values, n_flips=8000, seed=1)
    assert sampled == pytest.approx(float(sign_flip_test(values, n_flips=8192)), abs=0.015)


def test_sign_flip_p_is_uniform_under_symmetric_nulls() -> None:
    values = np.random.default_rng(13).standard_t(3, size=(40, 400))
    p = sign_flip_test(values, n_flips=1000)
    assert stats.kstest(p, "uniform").pvalue > 0.05
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_rows_of_one_unit_flip_together() -> None:
    generator = np.random.default_rng(14)
    per_unit = generator.normal(size=(15, 200))
    rows, units = np.repeat(per_unit, 4, axis=0), [u for u in _names(15) for _ in range(4)]
    np.testing.assert_allclose(
        sign_flip_test(rows, units=units, n_flips=500), sign_flip_test(per_unit, n_flips=500)
    )
    assert (sign_flip_test(rows, n_flips=500) < 0.05).mean() > 0.2


def test_paired_permutation_is_symmetric_and_knows_equal_samples() -> None:
    first, second = np.random.default_rng(15).normal(size=(2, 12))
    assert permutation_test_paired(first, second) == permutation_test_paired(second, first)
    assert permutation_test_paired(first, first) == 1.0


def test_equivalence_says_what_the_ninety_percent_interval_says() -> None:
    values = np.random.default_rng(16).normal(0.02, 0.2, size=(80, 300))
    resamples = resample_units(_names(80))
    interval = bootstrap_mean(values, resamples, "t", confidence=0.9)
    inside = (interval.low > -0.05) & (interval.high < 0.05)
    declared = equivalence_test(values, 0.05, resamples) < 0.05
    assert 0.2 < inside.mean() < 0.9
    assert (inside == declared).mean() >= 0.99


def test_equivalence_is_rarely_declared_at_the_margin() -> None:
    values = np.random.default_rng(17).exponential(0.05, size=(80, 400))
    assert (equivalence_test(values, 0.05, resample_units(_names(80))) < 0.05).mean() <= 0.08


def test_no_difference_at_all_is_equivalent() -> None:
    assert equivalence_test(np.zeros(20), 0.01, resample_units(_names(20))) == 0.0


def test_benjamini_hochberg_keeps_the_false_discovery_rate() -> None:
    generator = np.random.default_rng(18)
    shifted = np.arange(100) < 20
    false_share: list[float] = []
    for _ in range(60):
        values = generator.standard_t(5, size=(40, 100)) + 0.8 * shifted
        found = benjamini_hochberg(sign_flip_test(values, n_flips=2000)) < 0.1
        false_share.append(float((found & ~shifted).sum() / max(found.sum(), 1)))
        assert (found & shifted).sum() > 5
    assert np.mean(false_share) <= 0.1


def test_benjamini_hochberg_corrects_over_all_entries() -> None:
    p = np.array([[0.01, 0.04], [0.03, 0.5]])
    np.testing.assert_allclose(benjamini_hochberg(p), [[0.04, 0.16 / 3], [0.16 / 3, 0.5]])
