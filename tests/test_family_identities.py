"""Identities that tie patching to the weights, to gradients and to symmetries, in every family."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import FAMILIES, make_family, make_inputs, make_pairs_for
from naive import DIRECTIONS
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from behavior.examples import Pairs
from patching.activation import patch_heads, patch_nodes
from patching.attribution import attribute_nodes
from patching.effects import Direction
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

ORDER = [2, 0, 1]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(tmp_path_factory.mktemp("identities") / family, family)


@pytest.fixture(scope="module")
def model(folder: Path) -> PatchableModel:
    return load_checkpoint(folder, dtype="float64", check=False)


@pytest.fixture(scope="module")
def pairs(family: str) -> Pairs[Any]:
    return make_pairs_for(family, 4, seed=3)


def head_weights(row: LayerModules) -> tuple[Tensor, ...]:
    """Each head's part of the output projection: its input channels."""
    axis = 0 if isinstance(row.o, Conv1D) else 1
    return row.o.weight.detach().chunk(row.n_heads, dim=axis)


@contextmanager
def zeroed(weight: Tensor) -> Generator[None, None, None]:
    kept = weight.clone()
    weight.zero_()
    yield
    weight.copy_(kept)


def test_a_head_set_to_zero_is_the_output_weight_without_its_part(
    model: PatchableModel, pairs: Pairs[Any]
) -> None:
    plain = model.logits(pairs.clean)
    weights = [weight for row in model.modules.layers for weight in head_weights(row)]
    sizes: list[float] = []
    for name, weight in zip(model.spec.heads, weights, strict=True):
        with model.patch({name: 0.0}):
            patched = model.logits(pairs.clean) - plain
        with zeroed(weight):
            expected = model.logits(pairs.clean) - plain
        assert (patched - expected).abs().max() <= 1e-9 * expected.abs().max()
        sizes.append(float(expected.abs().max()))
    assert min(sizes) > 1e-4, "every head should matter"
    assert max(sizes) > 1.5 * min(sizes), "heads should matter unequally"


def test_a_row_set_to_zero_is_the_output_weight_set_to_zero(
    model: PatchableModel, pairs: Pairs[Any]
) -> None:
    for row in model.modules.layers:
        with model.patch({row.name: 0.0}):
            found = model.logits(pairs.clean)
        with zeroed(row.o.weight.detach()):
            expected = model.logits(pairs.clean)
        torch.testing.assert_close(found, expected, atol=1e-11, rtol=1e-11)


def test_all_nodes_from_the_other_run_are_the_other_run(
    model: PatchableModel, pairs: Pairs[Any]
) -> None:
    nodes = (*model.spec.inputs, *model.spec.rows, *model.spec.mlps)
    other, cache = model.run_with_cache(pairs.corrupted, nodes)
    assert (other - model.logits(pairs.clean)).abs().max() > 1e-3
    with model.patch({node: cache[node] for node in nodes}):
        found = model.logits(pairs.clean, batch_size=3)
    torch.testing.assert_close(found, other, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("activation", ["resid_pre", "resid_mid", "resid_post"])
def test_the_streams_at_any_place_from_the_other_run_are_the_other_run(
    model: PatchableModel, pairs: Pairs[Any], activation: Any
) -> None:
    """In an encoder-decoder, with what the other stack begins or ends with."""
    rows = model.modules.layers
    starts = [i for i, row in enumerate(rows) if row.enters] + [len(rows)]
    for i, row in enumerate(rows):
        if not row.has(activation):
            continue
        later = [rows[start].site("resid_pre") for start in starts[:-1] if start > i]
        done = [rows[end - 1].site("resid_post") for end in starts if 0 < end <= i]
        cut = [row.site(activation), *later, *done]
        other, cache = model.run_with_cache(pairs.corrupted, cut)
        with model.patch({site: cache[site] for site in cut}):
            found = model.logits(pairs.clean, batch_size=3)
        torch.testing.assert_close(found, other, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_attribution_becomes_exact_as_the_contrast_shrinks(
    folder: Path, family: str, pairs: Pairs[Any], direction: Direction
) -> None:
    """Between runs that are eps apart effects are of first order, their errors of second."""
    pairs = replace(pairs, corrupted=make_inputs(family, 4, seed=8))
    errors: list[float] = []
    for eps in (1e-2, 1e-3):
        close = contracted(folder, eps)
        nodes = (*close.spec.heads, *close.spec.mlps, *close.spec.rows, "input")
        exact = patch_nodes(close, pairs, nodes, direction).values
        estimate = attribute_nodes(close, pairs, nodes, direction).values
        errors.append(float((exact - estimate).norm() / exact.norm()))
    assert errors[0] < 0.2
    # A ReLU that one run switches on and the other does not has no slope between them.
    assert errors[1] < (0.5 if family.startswith("resnet") else 0.25) * errors[0]


def contracted(folder: Path, eps: float) -> PatchableModel:
    """The model with embeddings that differ between inputs by eps only."""
    close = load_checkpoint(folder, dtype="float64", check=False)
    with torch.no_grad():
        if close.spec.modality == "text":
            head: Any = close.hf.get_output_embeddings()
            if head is not None:  # T5's words are read with the vectors that they are written with.
                head.weight = nn.Parameter(head.weight.clone())
            words = close.hf.get_input_embeddings().weight
            words.copy_(words.mean(0) + eps * (words - words.mean(0)))
        else:
            first = next(one for one in close.hf.modules() if isinstance(one, nn.Conv2d))
            first.weight.mul_(eps)
    return close


def test_permuting_the_heads_of_a_model_permutes_the_effects(
    model: PatchableModel, folder: Path, pairs: Pairs[Any]
) -> None:
    permuted = load_checkpoint(folder, dtype="float64")
    permute_heads(permuted, ORDER)
    torch.testing.assert_close(
        permuted.logits(pairs.clean), model.logits(pairs.clean), atol=1e-10, rtol=0
    )
    expected = patch_heads(model, pairs).heads
    found = patch_heads(permuted, pairs).heads
    assert (expected - expected[:, :, ORDER]).abs().max() > 1e-4
    torch.testing.assert_close(found, expected[:, :, ORDER], atol=1e-10, rtol=1e-8)


def permute_heads(model: PatchableModel, order: Sequence[int]) -> None:
    """Heads in another order, by the weights of what reads and writes z."""
    with torch.no_grad():
        for row in model.modules.layers:
            reorder(row.o.weight, 0 if isinstance(row.o, Conv1D) else 1, order)
            if row.is_image:
                before: Any = row.attention[-2]
                reorder(before.convolution.weight, 0, order)
                norm = before.normalization
                for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    reorder(tensor, 0, order)
            for projection in dict.fromkeys((row.q, row.k, row.v)):
                if isinstance(projection, Conv1D):
                    for third in (*projection.weight.chunk(3, 1), *projection.bias.chunk(3)):
                        reorder(third, -1, order)
                elif isinstance(projection, nn.Linear):
                    reorder(projection.weight, 0, order)
                    if projection.bias is not None:
                        reorder(projection.bias, 0, order)
        for name, weight in model.hf.named_parameters():
            if name.endswith("relative_attention_bias.weight"):
                reorder(weight, 1, order)


def reorder(tensor: Tensor, axis: int, order: Sequence[int]) -> None:
    parts = tensor.chunk(len(order), axis)
    tensor.copy_(torch.cat([parts[i] for i in order], axis))
