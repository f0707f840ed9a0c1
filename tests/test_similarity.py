"""CKA: what it must not see, what it must see, and that wide unrelated features are not alike."""

import numpy as np
import pytest

from behavior.errors import DataError
from behavior.resampling import Resamples, resample_units
from probes.similarity import StageSimilarity, cka, compare_stages, u_centre

N = 160


def features(width: int = 5, seed: int = 0, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4, width))


def drawn(n: int = N) -> Resamples:
    return resample_units([f"q{i}" for i in range(n)], None, 200)


def only(first: np.ndarray, second: np.ndarray) -> StageSimilarity:
    return compare_stages([first], [second], drawn(len(first)))[0]


def test_a_representation_is_like_itself_however_rotated_moved_or_scaled() -> None:
    x = features()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    moved = 3.0 * x @ turn + 7.0
    for each in (only(x, x), only(x, moved)):
        for found in (each.aligned, each.conflicting):
            assert found.value == pytest.approx(1.0)
            assert found.low == pytest.approx(1.0) and found.n == N
        assert each.difference.value == pytest.approx(0.0, abs=1e-9)
    assert cka(x[:, 0], moved[:, 0]) == pytest.approx(1.0)


def test_a_stretched_representation_is_less_like_itself() -> None:
    x = features()
    assert (only(x, x * np.array([10, 1, 1, 1, 1])).aligned.value or 0) < 0.9


def test_unrelated_features_wider_than_there_are_inputs_are_not_alike() -> None:
    one, other = (features(400, seed, 40)[:, 0] for seed in (1, 2))
    x, y = (each - each.mean(axis=0) for each in (one, other))
    biased = np.sum((x @ x.T) * (y @ y.T)) / np.sqrt(
        np.sum((x @ x.T) ** 2) * np.sum((y @ y.T) ** 2)
    )
    assert biased > 0.8
    assert abs(cka(one, other) or 0) < 0.1


def test_intervals_of_unrelated_features_cover_zero() -> None:
    covered = 0
    for seed in range(40):
        found = only(features(seed=seed), features(seed=1000 + seed)).aligned
        assert found.low is not None and found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered >= 34


def test_what_agrees_on_aligned_inputs_alone_is_seen_there_alone() -> None:
    x, y = features(seed=1), features(seed=2)
    y[:, [0, 3]] = x[:, [0, 3]]
    found = only(x, y)
    assert found.aligned.value == pytest.approx(1.0)
    assert found.conflicting.high is not None and found.conflicting.high < 0.2
    assert found.difference.low is not None and found.difference.low > 0.8


def test_two_routes_to_one_number_agree() -> None:
    """Song et al.'s closed form of unbiased HSIC, without the centred matrix."""
    x, y = features(seed=1)[:30, 0], features(seed=2)[:30, 0] + features(seed=1)[:30, 0]

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        k, ell = a @ a.T, b @ b.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(ell, 0)
        n = len(k)
        total = np.trace(k @ ell) + k.sum() * ell.sum() / ((n - 1) * (n - 2))
        return float((total - 2 * (k @ ell).sum() / (n - 2)) / (n * (n - 3)))

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert cka(x, y) == pytest.approx(expected, rel=1e-9)


def test_swapping_the_models_transposes_the_table() -> None:
    ours = [features(seed=i) for i in range(2)]
    theirs = [features(seed=1) + features(seed=i) for i in (5, 6, 7)]
    table = {(s.first, s.second): s for s in compare_stages(ours, theirs, drawn())}
    turned = {(s.second, s.first): s for s in compare_stages(theirs, ours, drawn())}
    assert set(table) == set(turned) == {(i, j) for i in range(2) for j in range(3)}
    for key, each in table.items():
        assert each.aligned.value == pytest.approx(turned[key].aligned.value)
        assert each.conflicting.low == pytest.approx(turned[key].conflicting.low)


def test_a_representation_that_does_not_vary_has_no_similarity() -> None:
    found = only(features(), np.full((N, 4, 3), 0.1))
    assert found.aligned.value is None and "does not vary" in str(found.aligned.reason)
    assert cka(features()[:, 0], np.full((N, 3), 0.1)) is None


def test_centred_matrices_have_zero_rows_and_no_diagonal() -> None:
    x = features()[:, 0]
    centred = u_centre(x @ x.T)
    np.testing.assert_allclose(centred.sum(axis=1), 0, atol=1e-9)
    assert not centred.diagonal().any()


def test_too_few_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="2 inputs were given"):
        u_centre(np.ones((2, 2)))
    with pytest.raises(DataError, match="3 quads were given"):
        compare_stages([features(n=3)], [features(n=3)], drawn(3))
    with pytest.raises(DataError, match="160 and 3 inputs"):
        cka(features()[:, 0], features(n=3)[:, 0])
