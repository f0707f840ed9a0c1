"""Attention between words, distances of heads, and maps over images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from modelmaking import make_family, make_images, make_inputs

from behavior.errors import DataError
from behavior.examples import TextInput
from patching import PatchableModel, load_checkpoint
from probes.attention import (
    WordPatterns,
    all_heads,
    divergence,
    head_distances,
    overlap_attention,
    overlapping_words,
    read_patterns,
)
from probes.maps import attention_rollout, group_maps, patch_maps
from probes.words import shared_words, text_words


def opened(family: str, tmp_path: Path, seed: int = 0) -> PatchableModel:
    return load_checkpoint(make_family(tmp_path / f"{family}-{seed}", family, seed=seed))


def patterns_of(model: PatchableModel, family: str, n: int = 5) -> WordPatterns:
    inputs = make_inputs(family, n)
    return read_patterns(model, inputs, shared_words([model], inputs)[0], batch_size=2)


@pytest.mark.parametrize("family", ["bert", "t5", "t5-words", "gpt2", "vit"])
def test_rows_of_every_head_sum_to_one(family: str, tmp_path: Path) -> None:
    model = opened(family, tmp_path)
    found = patterns_of(model, family)
    assert sum(map(len, found.heads.values())) == len(all_heads(found))
    assert set(found.tables) == {row.stack for row in model.modules.layers}
    for stack, tables in found.tables.items():
        assert len(tables) == 5
        for table in tables:
            assert len(table) == len(found.heads[stack])
            np.testing.assert_allclose(table.sum(axis=2), 1.0, atol=1e-5)


def test_words_of_several_tokens_are_summed_into_and_averaged_out_of(tmp_path: Path) -> None:
    model = opened("bert", tmp_path)
    given = TextInput("the doctor helped the nurses .", "the nurse saw the judges .")
    words = shared_words([model], [given])[0]
    table = read_patterns(model, [given], words).tables[""][0]
    _, cache = model.run_with_cache([given], ["L1.pattern"])
    pattern = cache["L1.pattern"][0, 2].numpy()
    assert any(len(word) > 1 for word in words[0])
    for i, target in enumerate(words[0]):
        for j, source in enumerate(words[0]):
            expected = pattern[np.ix_(target, source)].sum(axis=1).mean()
            assert table[5, i, j] == pytest.approx(expected, abs=1e-6)


def test_a_model_is_at_no_distance_from_itself_and_distances_are_symmetric(
    tmp_path: Path,
) -> None:
    one = patterns_of(opened("bert", tmp_path, 0), "bert")
    other = patterns_of(opened("bert", tmp_path, 1), "bert")
    same = head_distances(one, one).distances
    np.testing.assert_allclose(np.einsum("ihh->ih", same), 0.0, atol=1e-6)
    there, back = head_distances(one, other).distances, head_distances(other, one).distances
    np.testing.assert_allclose(there, back.transpose(0, 2, 1), atol=1e-6)
    assert (there > 0.01).all() and (there <= 1).all()


def test_heads_of_different_kinds_have_no_distance(tmp_path: Path) -> None:
    found = patterns_of(opened("t5", tmp_path), "t5")
    distances = head_distances(found, found)
    kinds = [stack for stack, heads in found.heads.items() for _ in heads]
    for i, one in enumerate(kinds):
        for j, other in enumerate(kinds):
            assert np.isnan(distances.distances[:, i, j]).all() == (one != other)


def test_divergence_is_zero_for_equal_rows_one_for_disjoint_ones_and_known_between() -> None:
    first, second = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.5, 0.5]])
    assert divergence(first, first)[0] == 0.0
    assert divergence(first, second)[0] == pytest.approx(1.0)
    half = divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))[0]
    assert half == pytest.approx(-0.75 * np.log2(0.75) - 0.25 * np.log2(0.25) - 0.5)


def test_overlapping_words_stand_on_both_sides(tmp_path: Path) -> None:
    model = opened("bert", tmp_path)
    given = TextInput("the doctor saw a nurse .", "a doctor met the judge")
    words = shared_words([model], [given])[0]
    spelt = {at: word for word, at in text_words(model, given)}
    flags = overlapping_words(model, [given], words)[0]
    both = {spelt[at] for at, flag in zip(words[0], flags, strict=True) if flag}
    assert both == {"the", "doctor", "a"}
    with pytest.raises(DataError, match="premise and hypothesis"):
        overlapping_words(model, [TextInput("the doctor saw")], words)


def test_attention_spread_evenly_has_no_excess_and_attention_on_overlap_has(
    tmp_path: Path,
) -> None:
    model = opened("bert", tmp_path)
    given = TextInput("the doctor saw a nurse .", "a doctor met the judge")
    words = shared_words([model], [given])[0]
    flags = overlapping_words(model, [given], words)[0]
    n = len(flags)
    even = np.full((1, n, n + 1), 1 / n)
    even[:, :, -1] = 0
    on = np.zeros((1, n, n + 1))
    on[:, :, :n] = flags / flags.sum()
    table = np.concatenate([even, on])
    made = WordPatterns({"": ("a0.h0", "a0.h1")}, {"": (table,)})
    found = overlap_attention(model, [given], words, made)
    np.testing.assert_allclose(found[0], [0.0, 1 - flags.mean()], atol=1e-12)


def test_rollout_of_even_attention_falls_evenly_on_the_patches(tmp_path: Path) -> None:
    model = opened("vit", tmp_path)
    with torch.no_grad():
        for row in model.modules.layers:
            assert row.q is not None
            torch.nn.init.zeros_(row.q.weight)  # pyright: ignore[reportArgumentType]
            torch.nn.init.zeros_(row.q.bias)  # pyright: ignore[reportArgumentType]
    found = attention_rollout(model, make_images(2))
    assert found.shape == (2, 4, 4)
    # After each layer half stays, the other half is spread over all 17 positions.
    left = 0.5**3
    np.testing.assert_allclose(found, (1 - left) / 17, atol=1e-6)


def test_patch_maps_are_the_rows_of_the_first_token(tmp_path: Path) -> None:
    model = opened("deit", tmp_path)
    images = make_images(3)
    found = patch_maps(model, images)
    _, cache = model.run_with_cache(images, ["L2.pattern"])
    assert [each.row for each in found] == ["a0", "a1", "a2"]
    expected = cache["L2.pattern"][:, :, 0, 2:].numpy().reshape(3, 3, 4, 4)
    np.testing.assert_allclose(found[2].maps, expected)
    rollout = attention_rollout(model, images)
    assert (rollout.sum(axis=(1, 2)) <= 1).all() and (rollout >= 0).all()


@pytest.mark.parametrize("family", ["resnet", "resnet-bottleneck"])
def test_group_maps_are_zero_where_a_group_writes_nothing(family: str, tmp_path: Path) -> None:
    model = opened(family, tmp_path)
    row = model.modules.layers[1]
    with torch.no_grad():
        row.o.weight[:, row.columns(0)] = 0.0  # pyright: ignore[reportIndexIssue]
    found = group_maps(model, make_images(2))
    assert [each.row for each in found] == [each.name for each in model.modules.layers]
    silent = found[1].maps
    assert (silent[:, 0] == 0).all() and (silent[:, 1:].max(axis=(2, 3)) > 0).all()
    _, cache = model.run_with_cache(make_images(2), [row.site("result")])
    size = cache[row.site("result")].norm(dim=-1).numpy()
    np.testing.assert_allclose(silent.reshape(*silent.shape[:2], -1), size.transpose(0, 2, 1))


def test_models_without_patches_or_groups_are_refused(tmp_path: Path) -> None:
    text, image = opened("bert", tmp_path), opened("resnet", tmp_path)
    with pytest.raises(DataError, match="has no patches"):
        attention_rollout(text, make_inputs("bert", 1))
    with pytest.raises(DataError, match="has no patches"):
        patch_maps(image, make_images(1))
    with pytest.raises(DataError, match="has no groups of channels"):
        group_maps(text, make_inputs("bert", 1))
    with pytest.raises(DataError, match="has no attention"):
        read_patterns(image, make_images(1), [[]])
