"""The self-check passes on what a family declares, and fails on every wrong declaration."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import make_bert, redeclared
from torch import Tensor, nn

from behavior.errors import SelfCheckError
from patching.models.architecture import register_family
from patching.models.families.bert import BERT
from patching.models.loading import DType, load_checkpoint
from patching.models.model import PatchableModel
from patching.models.selfcheck import check_model

(ROW,) = BERT.stacks[0].rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("selfcheck") / "bert", n_layers=3)


@pytest.fixture(scope="module")
def opened(folder: Path) -> PatchableModel:
    return load_checkpoint(folder, check=False)


@pytest.fixture
def model(opened: PatchableModel) -> PatchableModel:
    """A copy of one's own to spoil."""
    return PatchableModel(copy.deepcopy(opened.hf), opened.tokenizer, BERT, opened.name)


def refusal(model: PatchableModel, **declared: Any) -> str:
    """What the self-check says of the same modules under another declaration."""
    with pytest.raises(SelfCheckError) as caught:
        check_model(
            PatchableModel(model.hf, model.tokenizer, redeclared(BERT, **declared), model.name)
        )
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert "'bert'" in message
    assert "patching/models/families" in message
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules()]
    assert sum(hooks) == 0, "a failed check should leave no hook"
    return message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1, 8), (2, 4, 32), (4, 3, 12)])
def test_bert_passes_whatever_its_size(
    tmp_path: Path, dtype: DType, sizes: tuple[int, int, int]
) -> None:
    n_layers, n_heads, d_model = sizes
    made = make_bert(tmp_path / "bert", n_layers=n_layers, n_heads=n_heads, d_model=d_model)
    check_model(load_checkpoint(made, dtype=dtype, check=False))


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_bert_passes_with_small_and_with_saturated_weights(tmp_path: Path, scale: float) -> None:
    check_model(load_checkpoint(make_bert(tmp_path / "bert", scale=scale), check=False))


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"q": ROW.k, "k": ROW.q}, "the pattern is the softmax of q and k"),
        ({"k": ROW.v, "v": ROW.k}, "z is the pattern times v"),
        ({"q": ROW.v, "v": ROW.q}, "z is the pattern times v"),
        ({"v": ROW.q}, "z is the pattern times v"),
        ({"k": ROW.q}, "the pattern is the softmax of q and k"),
        ({"o": ROW.q}, ""),
        ({"o": "attention.output.dropout"}, "has no attribute 'weight'"),
        ({"o": ROW.mlp}, "W_O should be 16 x 2 heads * 8, but is (16, 64)"),
        ({"attention": "attention"}, "The hook at L0.pattern fired 0 times"),
        ({"norm": ROW.mlp_norm, "mlp_norm": ROW.norm}, "resid_mid follows"),
        ({"norm": ROW.mlp_norm}, "resid_mid follows the attention"),
        ({"mlp_norm": ROW.norm}, "resid_post follows the MLP"),
        ({"mlp": ROW.o}, "resid_post follows the MLP"),
        ({"mlp": "output"}, "resid_post follows the MLP"),
        ({"mlp": "intermediate.dense"}, "the tiny batch did not run"),
        ({"layout": "pre-norm"}, "the norm of a0 did not run before its heads"),
        ({"layers": "bert.encoder"}, "which is a BertEncoder; expected a ModuleList"),
        ({"layers": "bert.encoder.layers"}, "names a module 'bert.encoder.layers', which this"),
        ({"q": "attention.query"}, "names a module 'attention.query', which this BertLayer does"),
        ({"embedding": "bert.embedding"}, "names a module 'bert.embedding'"),
        ({"embedding": "bert.embeddings.word_embeddings"}, "layer 0 reads the embedding"),
        ({"embedding": "bert.encoder.layer.0"}, "layer 0 reads the embedding"),
        ({"embedding": "bert.encoder.layer"}, "the embedding ran 0 times, not once"),
    ],
)
def test_a_wrong_path_is_found(model: PatchableModel, declared: dict[str, str], words: str) -> None:
    assert words in refusal(model, **declared)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("n_heads", 4, ""),
        ("n_heads", 1, ""),
        ("n_heads", 3, "W_O should be 16 x 3 heads * 5, but is (16, 16)"),
        ("n_layers", 2, "2 layers declared, but 3 found"),
        ("n_layers", 4, "4 layers declared, but 3 found"),
        ("d_model", 32, "W_O should be 32 x 2 heads * 16"),
    ],
)
def test_a_wrong_size_is_found(model: PatchableModel, field: str, value: int, words: str) -> None:
    model.hf.config.declared = value
    assert words in refusal(model, **{field: "declared"})


def test_a_class_name_too_many_is_found(model: PatchableModel) -> None:
    model.hf.config.id2label = dict(enumerate("abcd"))
    assert "4 class names, but 3 logits" in refusal(model)


def test_layers_in_another_order_are_found(model: PatchableModel) -> None:
    first, second, third = (layer.enter for layer in model.modules.layers)
    model.hf.reordered = nn.ModuleList([first, third, second])
    assert "layer 1 reads what layer 0 wrote" in refusal(model, layers="reordered")


def test_a_layer_that_runs_twice_is_found(model: PatchableModel) -> None:
    encoder: Any = model.hf.get_submodule("bert.encoder")
    encoder.layer[2] = encoder.layer[1]
    assert "fired 2 times in a forward pass" in refusal(model)


class _Output(nn.Linear):
    """An output projection with the weights of another, and something that it keeps to itself."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__(16, 16)
        self.load_state_dict(own.state_dict())


class _HiddenBias(_Output):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) + 0.5


class _TurnedHeads(_Output):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.roll(8, dims=-1))


class _Saturating(_Output):
    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(super().forward(z))


@pytest.mark.parametrize("kind", [_HiddenBias, _TurnedHeads, _Saturating])
def test_an_output_projection_that_is_more_than_its_weights_is_found(
    model: PatchableModel, kind: Callable[[nn.Module], nn.Module]
) -> None:
    output: Any = model.hf.get_submodule("bert.encoder.layer.1.attention.output")
    output.dense = kind(output.dense)
    assert "layer 1: results plus bias are attn_out" in refusal(model)


def test_a_bias_that_is_not_declared_is_found(model: PatchableModel) -> None:
    output: Any = model.hf.get_submodule("bert.encoder.layer.2.attention.output")
    output.dense = _BiasElsewhere(output.dense)
    assert "layer 2: results plus bias are attn_out" in refusal(model)


class _BiasElsewhere(nn.Module):
    def __init__(self, own: nn.Linear) -> None:
        super().__init__()
        self.weight, self.own_bias = own.weight, own.bias
        self.bias = None

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.linear(z, self.weight, self.own_bias)


class _NormThatReadsTheWeights(nn.LayerNorm):
    """Uses W_O a second time, in a place where no activation shows it."""

    def __init__(self, output_projection: nn.Module) -> None:
        super().__init__(16)
        self.unregistered = (output_projection,)

    def forward(self, stream: Tensor) -> Tensor:
        weight: Any = self.unregistered[0].weight
        return super().forward(stream) + weight.sum(dim=0)


def test_a_second_use_of_the_output_weights_is_found(model: PatchableModel) -> None:
    block: Any = model.hf.get_submodule("bert.encoder.layer.1")
    block.output.LayerNorm = _NormThatReadsTheWeights(block.attention.output.dense)
    assert "a1.h0: z set to zero is W_O without the head's columns" in refusal(model)


class _MeanPooler(nn.Module):
    def __init__(self, own: Any) -> None:
        super().__init__()
        self.dense, self.activation = own.dense, own.activation

    def forward(self, stream: Tensor) -> Tensor:
        return self.activation(self.dense(stream.mean(dim=1)))


def test_a_classifier_that_reads_more_than_the_first_token_is_found(model: PatchableModel) -> None:
    bert: Any = model.hf.get_submodule("bert")
    bert.pooler = _MeanPooler(bert.pooler)
    assert "the classifier reads the first token only" in refusal(model)
    check_model(
        PatchableModel(model.hf, model.tokenizer, replace(BERT, reads="all tokens"), model.name)
    )


def test_the_check_runs_on_load_unless_it_is_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patching.models.architecture._FAMILIES", {})
    register_family(redeclared(BERT, q=ROW.k, k=ROW.q))
    with pytest.raises(SelfCheckError, match="Self-check of 'bert' failed"):
        load_checkpoint(folder)
    assert load_checkpoint(folder, check=False).name == "bert"


def test_the_check_leaves_the_model_as_it_was(model: PatchableModel) -> None:
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    state = torch.random.get_rng_state()
    check_model(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())
    assert not model.is_patched
    assert not any(module._forward_hooks for module in model.hf.modules())
    assert all(weight.grad is None for weight in model.hf.parameters())
