"""Exact patching: identities that hold for any model, and the engine against a naive forward."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from modelmaking import make_bert, make_pairs
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.readout import margin, read_labels
from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
from patching.attribution import attribute_heads, attribute_mlps
from patching.effects import Direction
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.positions import patch_positions

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")
PAIRS = make_pairs(11, seed=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_bert(tmp_path_factory.mktemp("bert") / "m"), dtype="float64")


def margins(model: PatchableModel, pairs: Pairs, side: str) -> Tensor:
    readout = read_labels(model.spec.classes, ("entailment", "non-entailment"))
    logits = readout.task_logits(model.logits(getattr(pairs, side)))
    return margin(logits, readout.index(pairs.labels), readout.index(pairs.foils))


def naive(model: PatchableModel, pairs: Pairs, node: str, direction: Direction) -> Tensor:
    """One full forward for a node and a pair, through the public context manager."""
    into, source = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    effects: list[Tensor] = []
    for i in range(len(pairs)):
        pair = pairs.take([i])
        _, cache = model.run_with_cache(getattr(pair, source), sites=[node])
        before = margins(model, pair, into)
        with model.patch({node: cache[node]}):
            after = margins(model, pair, into)
        effects.append(before - after if direction == "noise" else after - before)
    return torch.cat(effects)


def same(pairs: Pairs) -> Pairs:
    return replace(pairs, corrupted=pairs.clean)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_engine_equals_one_full_forward_for_each_head_and_mlp(
    model: PatchableModel, direction: Direction
) -> None:
    heads = patch_heads(model, PAIRS, direction)
    mlps = patch_mlps(model, PAIRS, direction)
    assert heads.values.abs().mean() > 1e-3
    for effects in (heads, mlps):
        for node in effects.nodes:
            torch.testing.assert_close(effects.node(node), naive(model, PAIRS, node, direction))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_with_the_same_input_changes_nothing(
    model: PatchableModel, direction: Direction
) -> None:
    for effects in (
        patch_heads(model, same(PAIRS), direction),
        patch_mlps(model, same(PAIRS), direction),
        patch_layers(model, same(PAIRS), direction, "patterns"),
        patch_layers(model, same(PAIRS), direction, "values"),
        attribute_heads(model, same(PAIRS), direction),
    ):
        assert effects.values.abs().max() < 1e-12


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_patching_everything_gives_the_other_run(
    model: PatchableModel, direction: Direction
) -> None:
    effects = patch_nodes(model, PAIRS, ["input"], direction)
    torch.testing.assert_close(effects.node("input"), effects.clean - effects.corrupted)


def test_noise_of_a_pair_is_denoise_of_the_swapped_pair_with_its_sign_kept(
    model: PatchableModel,
) -> None:
    noise = patch_heads(model, PAIRS, "noise")
    denoise = patch_heads(model, PAIRS.swapped(), "denoise")
    torch.testing.assert_close(denoise.values, noise.values)
    torch.testing.assert_close(denoise.clean, -noise.corrupted)


def test_swapping_label_and_foil_alone_flips_every_sign(model: PatchableModel) -> None:
    exchanged = replace(PAIRS, labels=PAIRS.foils, foils=PAIRS.labels)
    flipped, effects = patch_heads(model, exchanged), patch_heads(model, PAIRS)
    torch.testing.assert_close(flipped.values, -effects.values)


def test_effects_do_not_depend_on_batch_size_order_or_threads(model: PatchableModel) -> None:
    effects = patch_heads(model, PAIRS)
    torch.testing.assert_close(patch_heads(model, PAIRS, batch_size=1).values, effects.values)
    order = list(reversed(range(len(PAIRS))))
    torch.testing.assert_close(patch_heads(model, PAIRS.take(order)).values, effects.values[order])
    torch.set_num_threads(2)
    try:
        torch.testing.assert_close(patch_heads(model, PAIRS).values, effects.values)
    finally:
        torch.set_num_threads(1)


def test_permuting_the_heads_of_a_model_permutes_the_effects(
    model: PatchableModel, tmp_path: Path
) -> None:
    permuted = load_checkpoint(make_bert(tmp_path / "m"), dtype="float64")
    swap_heads(permuted, [1, 0])
    torch.testing.assert_close(
        permuted.logits(PAIRS.clean), model.logits(PAIRS.clean), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(
        patch_heads(permuted, PAIRS).heads, patch_heads(model, PAIRS).heads[:, :, [1, 0]]
    )


def swap_heads(model: PatchableModel, order: Sequence[int]) -> None:
    d_head = model.spec.d_head
    rows = torch.cat([torch.arange(head * d_head, (head + 1) * d_head) for head in order])
    with torch.no_grad():
        for layer in model.modules.layers:
            for projection in (layer.q, layer.k, layer.v):
                projection.weight.copy_(projection.weight[rows].clone())
                projection.bias.copy_(projection.bias[rows].clone())
            layer.o.weight.copy_(layer.o.weight[:, rows].clone())


def test_a_layer_whose_patterns_and_values_both_move_is_the_whole_layer(
    model: PatchableModel,
) -> None:
    for layer in range(model.spec.n_layers):
        names = [f"L{layer}.{activation}" for activation in ("q", "k", "v")]
        _, cache = model.run_with_cache(PAIRS.corrupted, sites=names)
        with model.patch({name: cache[name] for name in names}):
            whole = margins(model, PAIRS, "clean")
        before = margins(model, PAIRS, "clean")
        found = patch_layers(model, PAIRS, "noise").layers[:, layer]
        torch.testing.assert_close(found, before - whole)


@pytest.mark.parametrize(("what", "moved"), [("patterns", ("q", "k")), ("values", ("v",))])
def test_patterns_and_values_move_apart(
    model: PatchableModel, what: str, moved: tuple[str, ...]
) -> None:
    layer = 1
    names = [f"L{layer}.{activation}" for activation in moved]
    _, cache = model.run_with_cache(PAIRS.corrupted, sites=names)
    before = margins(model, PAIRS, "clean")
    with model.patch({name: cache[name] for name in names}):
        after = margins(model, PAIRS, "clean")
    found = patch_layers(model, PAIRS, "noise", "patterns" if what == "patterns" else "values")
    torch.testing.assert_close(found.layers[:, layer], before - after)


def test_positions_of_layer_zero_move_only_the_words_that_differ(model: PatchableModel) -> None:
    found = patch_positions(model, PAIRS)
    for i, words in enumerate(found.words):
        for j, word in enumerate(words):
            if "/" not in word:
                assert found.values[i, 0, j].abs() < 1e-12
    assert found.values[:, 0].abs().max() > 1e-2


def test_first_token_after_the_last_layer_is_all_that_the_classifier_reads(
    model: PatchableModel,
) -> None:
    found = patch_positions(model, PAIRS, site="resid_post")
    last = found.values[:, -1]
    torch.testing.assert_close(last[:, 0], found.clean - found.corrupted)
    assert last[:, 1:].abs().max() < 1e-12


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_attribution_becomes_exact_as_the_contrast_shrinks(
    model: PatchableModel, direction: Direction
) -> None:
    """Between runs that are eps apart the error is of second order: it falls with eps squared."""
    errors: list[float] = []
    for eps in (1e-2, 1e-3):
        close = blended(model, eps)
        exact, estimate = (
            patch_heads(close, PAIRS, direction),
            attribute_heads(close, PAIRS, direction),
        )
        errors.append(float((exact.values - estimate.values).norm() / exact.values.norm()))
        mlps = patch_mlps(close, PAIRS, direction).values
        slopes = attribute_mlps(close, PAIRS, direction).values
        assert float((mlps - slopes).norm() / mlps.norm()) < 50 * eps
    assert errors[0] < 0.5
    assert errors[1] < 0.2 * errors[0]


def blended(model: PatchableModel, eps: float) -> PatchableModel:
    """The model with word vectors that differ from their mean by eps only."""
    folder = Path(str(model.hf.config._name_or_path))
    close = load_checkpoint(folder, dtype="float64", check=False)
    words = close.hf.get_input_embeddings().weight
    with torch.no_grad():
        words.copy_(words.mean(0) + eps * (words - words.mean(0)))
    return close


def test_unaligned_pairs_are_refused_with_their_number(model: PatchableModel) -> None:
    crooked = replace(PAIRS, corrupted=(PAIRS.clean[1], *PAIRS.corrupted[1:]))
    with pytest.raises(DataError, match=r"Pair 0 \('u0'\).*align_pairs"):
        patch_heads(model, crooked)


def test_unknown_direction_names_the_two(model: PatchableModel) -> None:
    with pytest.raises(Exception, match="noise"):
        patch_heads(model, PAIRS, "sideways")  # pyright: ignore[reportArgumentType]


def test_unknown_node_is_refused_before_anything_runs(model: PatchableModel) -> None:
    with pytest.raises(DataError, match=r"a9\.h0"):
        patch_nodes(model, PAIRS, ["a9.h0"])
