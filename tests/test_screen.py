"""Screening: the same top k as patching everything, within the stated bounds, for less work."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from modelmaking import make_bert, make_family, make_pairs, make_pairs_for

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.tasks import load_task
from patching.activation import patch_heads
from patching.effects import Effects
from patching.elimination import Elimination, eliminate
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.screen import ScreenedEffects, screen_heads


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(
        tmp_path_factory.mktemp("screen") / "m", n_layers=6, n_heads=6, d_model=24, scale=5.0
    )
    return load_checkpoint(folder)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return make_pairs(128, seed=3)


@pytest.fixture(scope="module")
def exact(model: PatchableModel, pairs: Pairs) -> Effects:
    return patch_heads(model, pairs)


def largest(effects: Effects, k: int) -> list[str]:
    order = effects.values.double().mean(dim=0).abs().argsort(descending=True)
    return [effects.nodes[i] for i in order[:k]]


def check(found: ScreenedEffects, exact: Effects, k: int) -> None:
    """The top is that of patching everything, its effects too, and all bounds hold."""
    assert list(found.top) == largest(exact, k)
    for name in found.exact.nodes:
        torch.testing.assert_close(found.exact.node(name), exact.node(name), atol=1e-4, rtol=1e-4)
    sizes = exact.values.double().mean(dim=0).abs()
    assert (sizes <= found.bounds + 1e-5).all()
    left_out = [i for i, name in enumerate(exact.nodes) if name not in found.exact.nodes]
    assert (found.bounds[left_out] < found.threshold).all()


@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_top_is_that_of_patching_everything(
    model: PatchableModel, pairs: Pairs, exact: Effects, k: int
) -> None:
    found = screen_heads(model, pairs, k)
    check(found, exact, k)
    assert len(found.exact.nodes) < len(exact.nodes)
    assert found.exact.method == "activation patching"
    assert found.attribution.nodes == exact.nodes
    if k == 1:
        assert found.saved > 0.1


@pytest.mark.parametrize("name", ["teacher", "student"])
@pytest.mark.parametrize("contrast", ["core", "shortcut"])
def test_the_top_of_the_bundled_models_is_that_of_patching_everything(
    name: str, contrast: str
) -> None:
    model = load_checkpoint(name)
    bundled = load_task("nli-overlap").pairs("core" if contrast == "core" else "shortcut", n=96)
    exact = patch_heads(model, bundled, "denoise")
    for k in (1, 4):
        check(screen_heads(model, bundled, k, "denoise"), exact, k)


@pytest.mark.parametrize("family", ["gpt2", "t5", "vit", "resnet"])
def test_the_top_of_other_families_is_that_of_patching_everything(
    tmp_path: Path, family: str
) -> None:
    model = load_checkpoint(make_family(tmp_path / "m", family), check=False)
    others = make_pairs_for(family, 60, seed=1)
    check(screen_heads(model, others, 2), patch_heads(model, others), 2)


def test_few_pairs_are_all_looked_at(model: PatchableModel, exact: Effects, pairs: Pairs) -> None:
    few = pairs.take(range(8))
    found = screen_heads(model, few, 2)
    assert len(found.exact.nodes) <= len(exact.nodes)
    check(found, patch_heads(model, few), 2)
    assert found.saved < 0


def test_the_table_and_the_progress_tell_what_was_done(model: PatchableModel, pairs: Pairs) -> None:
    seen: list[tuple[int, int]] = []
    found = screen_heads(
        model, pairs, 2, progress=lambda done, total: seen.append((done, total)), seed=1
    )
    assert seen[-1] == (256, 256)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    table = found.to_dataframe()
    assert tuple(table["node"]) == model.spec.heads
    assert set(table[table["patched"]]["node"]) == set(found.exact.nodes)
    assert set(table[table["top"]]["node"]) == set(found.top)
    assert table["exact"].isna().sum() == len(model.spec.heads) - len(found.exact.nodes)


def test_a_k_or_a_confidence_that_means_nothing_is_refused(
    model: PatchableModel, pairs: Pairs
) -> None:
    for k in (0, 36):
        with pytest.raises(DataError, match=f"k is {k}; expected 1 to 35"):
            screen_heads(model, pairs, k)
    with pytest.raises(DataError, match="between 0 and 1"):
        screen_heads(model, pairs, 2, confidence=1.0)


def run(
    estimates: np.ndarray, values: np.ndarray, k: int, seed: int
) -> tuple[Elimination, np.ndarray]:
    """The elimination, and how often each value was looked at."""
    seen = np.zeros(values.shape, dtype=int)

    def look(rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
        place = np.ix_(rows, columns)
        seen[place] += 1
        return values[place]

    return eliminate(estimates, look, k, first=24, level=0.01, seed=seed), seen


def test_misses_are_rare_and_no_value_is_looked_at_twice() -> None:
    """Estimates that explain half of the values, which have heavy tails and close means."""
    misses, shares = 0, list[float]()
    for seed in range(200):
        generator = np.random.default_rng(seed)
        means = 2 * generator.normal(size=40) * generator.exponential(size=40)
        estimates = means * 0.7 + generator.standard_t(3, size=(200, 40))
        values = means + 0.7 * (estimates - means * 0.7) + generator.standard_t(3, size=(200, 40))
        found, seen = run(estimates, values, 4, seed)
        assert seen.max() == 1
        assert (seen[:, found.kept] == 1).all()
        np.testing.assert_array_equal(np.isnan(found.values), seen == 0)
        top = set(np.argsort(-np.abs(values.mean(axis=0)))[:4])
        chosen = np.where(found.kept, found.bounds, -1)
        misses += set(np.argsort(-chosen)[:4]) != top
        shares.append(float(seen.mean()))
    assert misses <= 1
    assert np.mean(shares) < 0.8


def test_estimates_that_tell_everything_leave_the_first_block_and_the_top() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(100, 10)) + np.arange(10) * 3
    found, seen = run(values / 2 - 1, values, 2, seed=0)
    assert found.kept.tolist() == [False] * 8 + [True] * 2
    assert seen[:, :8].sum() == 24 * 8
    np.testing.assert_allclose(found.bounds[:8], np.abs(values.mean(axis=0))[:8])


def test_a_column_dropped_too_early_is_looked_at_again() -> None:
    """Its first block shows nothing of it, and neither do its estimates: the bound is wrong."""
    values = np.zeros((100, 3))
    order = np.random.default_rng(5).permutation(100)
    values[:, 0], values[:, 1] = 1.0, 0.9
    values[order[:24], 1] = 1.1
    values[order[:24], 2] = np.random.default_rng(0).normal(size=24) * 3
    found, _ = run(np.zeros_like(values), values, 1, seed=5)
    assert found.kept[0]
    assert found.bounds[0] == pytest.approx(1.0)
