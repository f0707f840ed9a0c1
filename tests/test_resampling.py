"""Resampling: what the draws keep, and the numbers that results are stored as."""

import json

import numpy as np
import pytest

from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.resampling import resample_units, split_units
from behavior.statistics import bootstrap_mean


def _names(n: int) -> list[str]:
    return [f"q{i:04d}" for i in range(n)]


# Estimate


@pytest.mark.parametrize(
    "estimate",
    [
        Estimate(0.5, 0.25, 0.75, 40),
        Estimate.null("no wrong answers", 3),
        Estimate(0.5, None, None, 1, "one seed gives no interval"),
    ],
)
def test_estimate_reads_what_it_writes(estimate: Estimate) -> None:
    assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_estimate_refuses_nan_and_infinity(bad: float) -> None:
    with pytest.raises(DataError, match="finite"):
        Estimate(0.5, bad, 1.0, 10)


def test_estimate_without_a_number_needs_a_reason() -> None:
    with pytest.raises(DataError, match="reason"):
        Estimate(None, None, None, 10)


# Resamples


def test_each_template_keeps_its_weight_in_every_resample() -> None:
    templates = ["a"] * 7 + ["b"] * 20 + ["c"] * 13
    resamples = resample_units(_names(40), templates, 50)
    for stratum, size in enumerate(np.bincount(resamples.strata)):
        totals = resamples.weights[:, resamples.strata == stratum].sum(1)
        np.testing.assert_allclose(totals, size, rtol=1e-12)


def test_resampled_variance_of_a_small_template_is_unbiased() -> None:
    values = np.random.default_rng(0).normal(size=6)
    resamples = resample_units(_names(6), None, 200_000)
    assert resamples.weights @ values / 6 == pytest.approx(values.mean(), abs=3)
    expected = values.var(ddof=1) / 6
    assert (resamples.weights @ values / 6).var() == pytest.approx(expected, rel=0.02)


def test_templates_too_small_to_resample_are_drawn_together() -> None:
    resamples = resample_units(_names(60), [f"t{i // 2}" for i in range(60)])
    assert set(resamples.strata) == {0}
    one_left_over = resample_units(_names(21), ["a"] * 10 + ["b"] * 10 + ["c"])
    assert sorted(np.bincount(one_left_over.strata)) == [10, 11]


def test_draws_do_not_depend_on_the_order_of_the_rows() -> None:
    order = np.random.default_rng(1).permutation(50)
    values, units, templates = order.astype(float), _names(50), [f"t{i % 4}" for i in range(50)]
    forward = bootstrap_mean(values, resample_units(units, templates), "t")
    shuffled = resample_units([units[i] for i in order], [templates[i] for i in order])
    np.testing.assert_allclose(bootstrap_mean(values[order], shuffled, "t"), forward, rtol=1e-10)


def test_rows_of_one_unit_carry_its_weight_wherever_they_stand() -> None:
    resamples = resample_units(_names(8), None, 20)
    pairs = resamples.over(["q0003", "q0001", "q0003"])
    assert (pairs.row_weights[:, 0] == pairs.row_weights[:, 2]).all()
    np.testing.assert_array_equal(pairs.row_weights[:, 1], resamples.weights[:, 1])


def test_unit_that_was_not_drawn_is_named() -> None:
    with pytest.raises(DataError, match="'q9999' was not drawn"):
        resample_units(_names(3)).over(["q9999"])


def test_unit_with_two_templates_is_named() -> None:
    with pytest.raises(DataError, match="'q' has two templates, 'a' and 'b'"):
        resample_units(["q", "q"], ["a", "b"])


def test_nothing_to_resample_says_so() -> None:
    with pytest.raises(DataError, match="at least one"):
        resample_units([])


def test_halves_split_every_template_evenly_and_share_no_unit() -> None:
    units, templates = _names(31), [f"t{i % 3}" for i in range(31)]
    first, second = split_units(units, templates, seed=4)
    assert set(first) | set(second) == set(units)
    assert not set(first) & set(second)
    template_of = dict(zip(units, templates, strict=True))
    for template in set(templates):
        counts = [sum(template_of[unit] == template for unit in half) for half in (first, second)]
        assert abs(counts[0] - counts[1]) <= 1
    assert split_units(units[::-1], templates[::-1], seed=4) == (first, second)
    assert split_units(units, templates, seed=5) != (first, second)
