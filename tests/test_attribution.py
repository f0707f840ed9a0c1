"""Attribution: exact where the model is linear, complete where the gradient is integrated."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from captum.attr import LayerIntegratedGradients
from modelmaking import FAMILIES, make_bert, make_family, make_pairs, make_pairs_for
from torch import Tensor, nn
from transformers.models.t5.modeling_t5 import T5LayerNorm

from behavior.errors import DataError, ResultError
from behavior.examples import Pairs
from patching.activation import patch_nodes
from patching.attribution import attribute_heads, attribute_mlps, attribute_nodes
from patching.effects import Direction, Effects
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.token_attributions import TokenAttributions

DIRECTIONS: tuple[Direction, ...] = ("noise", "denoise")
LINEAR = ("bert", "gpt2", "t5-words", "vit", "resnet")
ACTIVATIONS = ("act", "activation", "activation_fn", "intermediate_act_fn")


@pytest.fixture(scope="module", params=FAMILIES)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PatchableModel, Pairs]:
    folder = make_family(tmp_path_factory.mktemp("attribution") / "m", request.param, scale=4.0)
    return load_checkpoint(folder, dtype="float64"), other_words(request.param, 6)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_bert(tmp_path_factory.mktemp("bert") / "m"), dtype="float64")


def other_words(family: str, n: int) -> Pairs:
    """Pairs that differ in more than the order of their words, which a mean would not see."""
    pairs = make_pairs_for(family, n, seed=3)
    return replace(pairs, corrupted=(*pairs.clean[3:], *pairs.clean[:3]))


def all_nodes(model: PatchableModel) -> tuple[str, ...]:
    spec = model.spec
    return (*spec.heads, *spec.mlps, *spec.rows, *spec.inputs)


def binary(pairs: Pairs) -> Pairs:
    """A margin between two classes, which is linear in the logits."""
    return replace(pairs, foils=("contradiction",) * len(pairs))


def linear(folder: Path, family: str) -> PatchableModel:
    """A model of a family with fixed attention patterns, and no norm or activation function."""
    model = load_checkpoint(make_family(folder, family, scale=12.0), dtype="float64")
    for row in model.modules.layers:
        with torch.no_grad():
            if row.is_fused:
                row.q.weight[:, : 2 * row.n_heads * row.d_head] = 0
            elif row.q is not None:
                row.q.weight.zero_()
                if row.q.bias is not None:
                    row.q.bias.zero_()
    for module in list(model.hf.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.LayerNorm | T5LayerNorm) or name in ACTIVATIONS:
                setattr(module, name, nn.Identity())
    return PatchableModel(model.hf, model.processor, model.architecture, family)


@pytest.mark.parametrize("family", LINEAR)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_attribution_is_exact_where_the_model_is_linear(
    tmp_path: Path, family: str, direction: Direction
) -> None:
    model, pairs = linear(tmp_path / family, family), binary(other_words(family, 6))
    nodes = all_nodes(model)
    exact = patch_nodes(model, pairs, nodes, direction)
    assert exact.values.abs().mean() > 1e-4
    for steps in (None, 1, 3):
        found = attribute_nodes(model, pairs, nodes, direction, steps=steps)
        torch.testing.assert_close(found.values, exact.values)


def test_integrated_gradients_of_the_input_sum_to_the_total_with_an_error_that_falls(
    opened: tuple[PatchableModel, Pairs],
) -> None:
    """As 1/m at least. Means over some m, because a kink of a ReLU may lie between any points."""
    model, pairs = opened

    def error(steps: int) -> float:
        found = attribute_nodes(model, pairs, ["input"], steps=steps)
        assert found.method == f"integrated gradients, {steps} steps"
        return float((found.node("input") - (found.clean - found.corrupted)).abs().mean())

    few, many = (sum(map(error, steps)) / 3 for steps in ((3, 4, 5), (21, 28, 35)))
    total = patch_nodes(model, pairs, ["input"]).values.abs().mean()
    assert many < few / 7 * 3
    assert many < 0.1 * float(total)


def test_inputs_of_several_streams_add_up_to_all_of_them(
    opened: tuple[PatchableModel, Pairs],
) -> None:
    model, pairs = opened
    names = dict.fromkeys(("input", *model.spec.inputs))
    found = attribute_nodes(model, pairs, tuple(names), steps=4)
    parts = torch.stack([found.node(name) for name in model.spec.inputs]).sum(dim=0)
    torch.testing.assert_close(parts, found.node("input"))


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_positions_sum_to_the_nodes_and_are_zero_beyond_a_text(
    opened: tuple[PatchableModel, Pairs], direction: Direction, steps: int | None
) -> None:
    model, pairs = opened
    nodes = all_nodes(model)
    whole = attribute_nodes(model, pairs, nodes, direction, steps=steps)
    found = attribute_nodes(model, pairs, nodes, direction, steps=steps, positions=True)
    assert whole.values.std() > 1e-4
    torch.testing.assert_close(found.effects.values, whole.values)
    torch.testing.assert_close(found.values.sum(dim=-1), whole.values)
    assert (found.values != 0).sum() > whole.values.numel()
    for values, tokens in zip(found.values, found.tokens, strict=True):
        if model.spec.modality == "text":
            assert (values[:, len(tokens) :] == 0).all()


def test_a_position_is_what_patching_it_alone_gives_in_a_linear_model(tmp_path: Path) -> None:
    model, pairs = linear(tmp_path / "vit", "vit"), binary(other_words("vit", 6))
    found = attribute_heads(model, pairs, positions=True).node("a1.h2")
    _, clean = model.run_with_cache(pairs.clean, sites=["a1.h2"])
    _, corrupted = model.run_with_cache(pairs.corrupted, sites=["a1.h2"])
    before = margin(model.logits(pairs.clean))
    for position in (0, 4):
        mixed = clean["a1.h2"].clone()
        mixed[:, position] = corrupted["a1.h2"][:, position]
        with model.patch({"a1.h2": mixed}):
            after = margin(model.logits(pairs.clean))
        torch.testing.assert_close(found[:, position], before - after)


def margin(logits: Tensor) -> Tensor:
    return logits[:, 0] - logits[:, 2]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_input_gets_what_captum_gives_the_embedding(
    bert: PatchableModel, direction: Direction
) -> None:
    pairs, steps = binary(make_pairs(4, seed=5)), 7
    found = attribute_nodes(bert, pairs, ["input"], direction, steps=steps, positions=True)
    clean, corrupted = (
        bert.encoder.batch(bert.encode(inputs)) for inputs in (pairs.clean, pairs.corrupted)
    )
    rest = ("attention_mask", "token_type_ids")

    def forward(ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return margin(bert.hf(**batch).logits)

    captum = LayerIntegratedGradients(forward, bert.hf.bert.embeddings)
    expected = captum.attribute(
        clean["input_ids"],
        corrupted["input_ids"],
        additional_forward_args=tuple(clean[name] for name in rest),
        n_steps=steps,
        method="riemann_middle",
    )
    torch.testing.assert_close(found.node("input"), expected.sum(dim=-1))


def test_a_step_is_not_the_gradient_of_the_target_run(bert: PatchableModel) -> None:
    pairs = make_pairs(6, seed=2)
    one, gradient = attribute_mlps(bert, pairs, steps=1), attribute_mlps(bert, pairs)
    assert (one.values - gradient.values).abs().max() > 1e-4
    assert gradient.method == "attribution patching"


def test_integrated_gradients_do_not_depend_on_batches_and_show_progress(
    bert: PatchableModel,
) -> None:
    pairs, seen = make_pairs(7, seed=2), list[tuple[int, int]]()
    whole = attribute_heads(bert, pairs, steps=3, positions=True)
    parts = attribute_heads(
        bert,
        pairs,
        steps=3,
        positions=True,
        batch_size=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    torch.testing.assert_close(parts.values, whole.values)
    assert seen == [(3, 7), (5, 7), (7, 7)]


def test_positions_come_back_from_a_file(bert: PatchableModel, tmp_path: Path) -> None:
    found = attribute_heads(bert, make_pairs(4, seed=2), "denoise", positions=True)
    assert any("/" in token for token in found.tokens[0])
    again = TokenAttributions.load(found.save(tmp_path / "positions.safetensors"))
    torch.testing.assert_close(again.values, found.values, rtol=0, atol=0)
    torch.testing.assert_close(again.effects.values, found.effects.values, rtol=0, atol=0)
    plain = {"values": found.effects.values, "clean": None, "corrupted": None}
    for name in Effects.__dataclass_fields__:
        if name not in plain:
            assert getattr(again.effects, name) == getattr(found.effects, name)
    assert again.tokens == found.tokens
    effects = found.effects.save(tmp_path / "effects.safetensors")
    with pytest.raises(ResultError, match="expected token attributions"):
        TokenAttributions.load(effects)


def test_what_cannot_be_attributed_is_refused(bert: PatchableModel, tmp_path: Path) -> None:
    pairs = make_pairs(2)
    with pytest.raises(DataError, match="at least 1 step; got 0"):
        attribute_heads(bert, pairs, steps=0)
    with pytest.raises(DataError, match=r"a9\.h0"):
        attribute_nodes(bert, pairs, ["a9.h0"], steps=2)
    t5 = load_checkpoint(make_family(tmp_path / "t5", "t5"), check=False)
    with pytest.raises(DataError, match=r"enc\.input and dec\.input"):
        attribute_nodes(t5, pairs, ["input"], positions=True)
