"""`with model.patch(...)`: what is set is set, for the right inputs, and only inside the block."""

import copy

import pytest
import torch
from modelmaking import make_bert, make_pairs
from torch import Tensor

from behavior.errors import DataError
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.nodes import ACTIVATIONS, Activation

PAIRS = make_pairs(7, seed=5)
CLEAN, CORRUPTED = PAIRS.clean, PAIRS.corrupted
N_LAYERS, N_HEADS, D_HEAD = 3, 2, 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_bert(tmp_path_factory.mktemp("patch") / "bert", n_layers=N_LAYERS, scale=25.0)
    return load_checkpoint(folder, dtype="float64")


@pytest.fixture(scope="module")
def plain(model: PatchableModel) -> Tensor:
    return model.logits(CLEAN)


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def apart(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() > 0.01)


def with_silenced_weights(model: PatchableModel, *heads: tuple[int, int]) -> Tensor:
    """Plain Hugging Face logits of the clean inputs, without some heads' columns of W_O."""
    hf = copy.deepcopy(model.hf)
    for layer, head in heads:
        dense = hf.get_submodule(f"bert.encoder.layer.{layer}.attention.output.dense")
        assert isinstance(dense, torch.nn.Linear)
        dense.weight.data[:, head * D_HEAD : (head + 1) * D_HEAD] = 0
    rows = model.encode(CLEAN)
    with torch.no_grad():
        return torch.cat([hf(**model.encoder.batch([row])).logits for row in rows])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_sites_own_value_changes_nothing(
    model: PatchableModel, plain: Tensor, activation: Activation
) -> None:
    _, cache = model.run_with_cache(CLEAN, [activation])
    for batch_size in (1, 3, 100):
        with model.patch(dict(cache)):
            same(model.logits(CLEAN, batch_size), plain)


@pytest.mark.parametrize("activation", ["q", "k", "v", "z", "pattern", "result"])
def test_a_heads_own_value_changes_nothing_and_another_value_does(
    model: PatchableModel, plain: Tensor, activation: str
) -> None:
    site = f"L1.h1.{activation}"
    _, own = model.run_with_cache(CLEAN, [site])
    with model.patch({site: own[site]}):
        same(model.logits(CLEAN), plain)
    with model.patch({site: own[site].flip(0)}):
        assert apart(model.logits(CLEAN), plain)


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("head", range(N_HEADS))
def test_a_zeroed_head_is_zeroed_columns_of_the_weights(
    model: PatchableModel, plain: Tensor, layer: int, head: int
) -> None:
    expected = with_silenced_weights(model, (layer, head))
    assert apart(expected, plain), "the head should matter"
    for name in (f"a{layer}.h{head}", f"L{layer}.h{head}.z", f"L{layer}.h{head}.result"):
        with model.patch({name: 0.0}):
            same(model.logits(CLEAN, batch_size=2), expected)


def test_heads_of_several_layers_are_set_together(model: PatchableModel) -> None:
    with model.patch({"a0.h1": 0.0, "a2.h0": 0.0, "a2.h1": 0.0}):
        same(model.logits(CLEAN), with_silenced_weights(model, (0, 1), (2, 0), (2, 1)))


def test_all_heads_zeroed_is_attn_out_set_to_its_bias(model: PatchableModel) -> None:
    bias = model.modules.layers[1].bias
    assert bias is not None
    with model.patch({"L1.attn_out": bias}):
        expected = model.logits(CLEAN)
    for key in ("a1", "blocks.1.attn.hook_z", "blocks.1.attn.hook_result"):
        with model.patch({key: 0.0}):
            same(model.logits(CLEAN), expected)
    same(with_silenced_weights(model, (1, 0), (1, 1)), expected)


def test_a_uniform_pattern_is_z_set_to_the_mean_of_v(model: PatchableModel, plain: Tensor) -> None:
    one = CLEAN[:1]
    _, cache = model.run_with_cache(one, ["L1.v"])
    mean = cache["L1.h0.v"].mean(dim=1, keepdim=True)
    n = cache["L1.v"].shape[1]
    with model.patch({"L1.h0.pattern": 1 / n}):
        by_pattern = model.logits(one)
    with model.patch({"L1.h0.z": mean}):
        same(by_pattern, model.logits(one))
    assert apart(by_pattern, plain[:1])


@pytest.mark.parametrize("batch_size", [1, 2, 5, None])
@pytest.mark.parametrize("sites", [["input"], ["L1.resid_post"], ["L1.resid_mid", "m1"]])
def test_everything_from_the_other_run_is_the_other_run(
    model: PatchableModel, plain: Tensor, sites: list[str], batch_size: int | None
) -> None:
    other, cache = model.run_with_cache(CORRUPTED, sites)
    assert apart(other, plain)
    with model.patch({site: cache[site] for site in sites}):
        same(model.logits(CLEAN, batch_size), other)


def test_values_follow_their_inputs_through_any_order(model: PatchableModel) -> None:
    _, cache = model.run_with_cache(CORRUPTED, ["a1.h0"])
    with model.patch({"a1.h0": cache["a1.h0"]}):
        expected = model.logits(CLEAN)
    order = [4, 0, 6, 2, 5, 1, 3]
    with model.patch({"a1.h0": cache["a1.h0"][order]}):
        same(model.logits([CLEAN[i] for i in order], batch_size=2), expected[order])


def test_one_row_or_one_vector_is_for_all_inputs(model: PatchableModel) -> None:
    vector = torch.linspace(-2, 2, D_HEAD)
    with model.patch({"a1.h0": vector}):
        expected = model.logits(CLEAN)
        _, cache = model.run_with_cache(CLEAN, ["z"])
    assert torch.equal(cache["a1.h0"], vector.double().expand(7, 19, D_HEAD))
    with model.patch({"a1.h0": vector.expand(1, 1, D_HEAD)}):
        same(model.logits(CLEAN, batch_size=3), expected)


def test_blocks_nest_and_the_inner_one_ends_alone(model: PatchableModel, plain: Tensor) -> None:
    both = with_silenced_weights(model, (0, 0), (1, 1))
    with model.patch({"a0.h0": 0.0}):
        with model.patch({"L1.h1.pattern": 0.0}):
            same(model.logits(CLEAN), both)
        assert model.is_patched
        same(model.logits(CLEAN), with_silenced_weights(model, (0, 0)))
    assert not model.is_patched
    assert torch.equal(model.logits(CLEAN), plain)


def n_hooks(model: PatchableModel) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.hf.modules()
    )


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_is_left_after_the_block_or_an_exception(
    model: PatchableModel,
    plain: Tensor,
    activation: Activation,
    error: type[BaseException] | None,
) -> None:
    attention = model.hf.config._attn_implementation
    weights = {name: value.clone() for name, value in model.hf.state_dict().items()}

    def inside() -> None:
        with model.patch({f"L1.{activation}": 0.0}):
            assert n_hooks(model) > 0
            assert apart(model.logits(CLEAN), plain)
            if error is not None:
                raise error

    if error is None:
        inside()
    else:
        with pytest.raises(error):
            inside()
    assert n_hooks(model) == 0 and not model.is_patched
    assert model.hf.config._attn_implementation == attention
    assert torch.equal(model.logits(CLEAN), plain)
    assert all(torch.equal(value, weights[name]) for name, value in model.hf.state_dict().items())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5,), r"A value of shape \(5,\) does not fit L1\.h0\.z, which has the shape \(7, 19, 8\)"),
        ((7, 19, 5), r"A value of shape \(7, 19, 5\) does not fit"),
        ((3, 19, 8), "has 3 rows, but the inputs are more"),
        ((7, 4, 8), r"A value of shape \(7, 4, 8\) does not fit"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_as_often_as_it_is_tried(
    model: PatchableModel, plain: Tensor, shape: tuple[int, ...], words: str
) -> None:
    with model.patch({"a2": 0.0, "a1.h0": torch.zeros(shape)}):
        for _ in range(2):
            with pytest.raises(DataError, match=words):
                model.logits(CLEAN)
    assert torch.equal(model.logits(CLEAN), plain)


def test_a_misspelt_site_beside_a_right_one_leaves_nothing(model: PatchableModel) -> None:
    with pytest.raises(DataError, match="'a7' is not in"), model.patch({"a0": 0.0, "a7": 0.0}):
        pass
    assert n_hooks(model) == 0 and not model.is_patched
