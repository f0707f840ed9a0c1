"""Declarations that are nearly right, of every family: the self-check refuses each of them."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import ENCODERS, FAMILIES, make_family, redeclared
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from behavior.errors import SelfCheckError
from patching.models.architecture import Architecture, RowPaths
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel
from patching.models.selfcheck import check_model

WITH_SEPARATE_PROJECTIONS = (*ENCODERS, "t5", "t5-words", "vit", "deit")
QKVO = (("q", "k"), ("k", "v"), ("q", "v"), ("q", "o"), ("v", "o"))
MLPS = (("norm", "mlp_norm"), ("o", "mlp"))
RESNET_O = {"resnet": "layer.0", "resnet-bottleneck": "layer.1"}

_OPENED: dict[str, PatchableModel] = {}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("near-right")


def opened(root: Path, family: str) -> PatchableModel:
    folder = root / family
    if not folder.exists():
        make_family(folder, family)
        _OPENED[family] = load_checkpoint(folder, dtype="float64", check=False)
    return _OPENED[family]


def refusal(model: PatchableModel, architecture: Architecture, hf: Any = None) -> str:
    """What the check says of the model under another declaration, or of another model."""
    with pytest.raises(SelfCheckError) as caught:
        check_model(PatchableModel(hf or model.hf, model.processor, architecture, model.name))
    message = str(caught.value)
    assert "\n" not in message
    assert f"'{architecture.family}'" in message
    assert "patching/models/families" in message
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules()]
    assert sum(hooks) == 0, "a failed check should leave no hook"
    return message


def places(family: str, pairs: tuple[tuple[str, str], ...]) -> list[Any]:
    """Each swap in each kind of row that has both paths: T5 has one in its encoder, two more."""
    rows = ((0, 0), (1, 0), (1, 1)) if family.startswith("t5") else ((0, 0),)
    found = [(family, stack, row, pair) for stack, row in rows for pair in pairs]
    return [one for one in found if one[1:3] != (1, 0) or one[3] not in MLPS]


@pytest.mark.parametrize(
    ("family", "stack", "row", "swap"),
    [
        *(one for family in WITH_SEPARATE_PROJECTIONS for one in places(family, QKVO + MLPS)),
        *places("gpt2", (*MLPS, ("q", "o"))),
    ],
)
def test_swapped_paths_are_found(
    root: Path, family: str, stack: int, row: int, swap: tuple[str, str]
) -> None:
    model = opened(root, family)
    declared = model.architecture
    paths: RowPaths = declared.stacks[stack].rows[row]
    one, other = swap
    changed = {one: getattr(paths, other), other: getattr(paths, one)}
    if family == "t5-words" and (stack, row) == (1, 0) and swap == ("q", "k"):
        pytest.skip("with one key the pattern is 1, whatever q and k are")
    refusal(model, redeclared(declared, stack=stack, row=row, **changed))


def block(stack: int, row: int, **changes: str) -> tuple[int, int, dict[str, Any]]:
    return stack, row, changes


T5_ROWS = (
    block(1, 0, norm="layer.1.layer_norm"),
    block(1, 1, norm="layer.0.layer_norm"),
    block(1, 1, norm="layer.2.layer_norm"),
    block(1, 1, mlp_norm="layer.1.layer_norm"),
    block(1, 1, o="layer.0.SelfAttention.o"),
    block(1, 1, v="layer.0.SelfAttention.v"),
    block(1, 1, attention="layer.0.SelfAttention"),
    block(1, 0, leave="layer.1"),
    block(1, 0, leave=""),
    block(1, 1, enter=""),
    block(1, 1, leave="layer.1"),
    block(0, 0, mlp="layer.1"),
    block(0, 0, leave="layer.0"),
)


@pytest.mark.parametrize("family", ["t5", "t5-words"])
@pytest.mark.parametrize(("stack", "row", "changes"), T5_ROWS)
def test_paths_of_another_row_of_t5_are_found(
    root: Path, family: str, stack: int, row: int, changes: dict[str, Any]
) -> None:
    model = opened(root, family)
    refusal(model, redeclared(model.architecture, stack=stack, row=row, **changes))


@pytest.mark.parametrize("family", ["t5", "t5-words"])
def test_stacks_and_rows_of_t5_that_are_mixed_up_or_left_out_are_found(
    root: Path, family: str
) -> None:
    model = opened(root, family)
    declared = model.architecture
    encoder, decoder = declared.stacks
    own, cross = decoder.rows
    refusal(model, redeclared(declared, stack=1, rows=(own,)))
    refusal(model, redeclared(declared, stack=1, rows=(cross,)))
    refusal(model, redeclared(declared, stack=1, rows=(cross, own)))
    refusal(model, replace(declared, stacks=(encoder,)))
    refusal(model, replace(declared, stacks=(decoder,)))
    other_way = replace(encoder, layers=decoder.layers), replace(decoder, layers=encoder.layers)
    refusal(model, replace(declared, stacks=other_way))
    crossed = replace(encoder, embedding=decoder.embedding)
    refusal(model, replace(declared, stacks=(crossed, decoder)))


@pytest.mark.parametrize("family", ["resnet", "resnet-bottleneck"])
@pytest.mark.parametrize(
    "changes",
    [
        {"o": "layer.0.convolution"},
        {"o": "{}.convolution"},
        {"norm": "layer.0.normalization"},
        {"norm": "{}.normalization"},
        {"o": "{}.convolution", "norm": "{}.normalization"},
        {"attention": "layer.0"},
        {"attention": "shortcut"},
        {"enter": "layer"},
        {"leave": "layer"},
        {"embedding": "resnet.embedder.embedder"},
        {"embedding": "resnet.pooler"},
        {"layers": "resnet.encoder.stages.0.layers"},
        {"layers": "resnet.encoder.stages.1.layers"},
        {"layers": "resnet.encoder.stages"},
        {"layout": "pre-norm"},
        {"reads": "first token"},
    ],
)
def test_near_right_declarations_of_a_resnet_are_found(
    root: Path, family: str, changes: dict[str, str]
) -> None:
    model = opened(root, family)
    found = {name: path.format(RESNET_O[family]) for name, path in changes.items()}
    refusal(model, redeclared(model.architecture, **found))


@pytest.mark.parametrize("family", ["vit", "deit", "gpt2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"layout": "post-norm"},
        {"mlp": "{mlp_norm}"},
        {"embedding": "{layers}.0"},
        {"norm": "{mlp_norm}", "mlp_norm": "{mlp_norm}"},
        {"mlp_norm": "{norm}"},
        {"q": "{o}"},
        {"v": "{o}"},
        {"attention": "{mlp}"},
        {"enter": "{attention}"},
        {"leave": "{mlp}"},
        {"leave": "{attention}"},
    ],
)
def test_near_right_declarations_of_pre_norm_models_are_found(
    root: Path, family: str, changes: dict[str, str]
) -> None:
    model = opened(root, family)
    (stack,) = model.architecture.stacks
    (row,) = stack.rows
    names = {name: getattr(row, name) for name in ("o", "norm", "mlp", "mlp_norm", "attention")}
    found = {key: path.format(layers=stack.layers, **names) for key, path in changes.items()}
    refusal(model, redeclared(model.architecture, **found))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_head_too_many_or_too_few_is_found(root: Path, family: str) -> None:
    model = opened(root, family)
    for n_heads in (model.spec.n_heads - 1, model.spec.n_heads + 1):
        hf = copy.deepcopy(model.hf)
        hf.config.declared = n_heads
        if family.startswith("resnet"):  # Its groups are ours to choose, but have to be equal.
            hf.config.declared = 5
        refusal(model, replace(model.architecture, n_heads="declared"), hf)


def hide_bias(module: nn.Module) -> None:
    """The bias is added still, but not told; where there is none, one is added."""
    own: Tensor | None = getattr(module, "bias", None)
    axis = 1 if isinstance(module, (nn.Linear, Conv1D)) else 3
    width = module.weight.shape[1 if isinstance(module, Conv1D) else 0]
    kept = torch.linspace(-1, 1, width).double() if own is None else own.detach().clone()
    shaped = kept if axis == 1 else kept[:, None, None]
    if own is not None:
        own.detach().zero_()
    kind: Any = type(module)
    hiding = {"forward": lambda self, z: kind.forward(self, z) + shaped}
    module.__class__ = type("Hiding", (kind,), hiding)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bias_that_is_hidden_is_found(root: Path, family: str) -> None:
    model = opened(root, family)
    spoiled = PatchableModel(
        copy.deepcopy(model.hf), model.processor, model.architecture, model.name
    )
    hide_bias(spoiled.modules.layers[-1].o)
    message = refusal(spoiled, spoiled.architecture)
    assert "results plus bias are attn_out" in message


@pytest.mark.parametrize("family", FAMILIES)
def test_all_heads_of_another_order_are_found(root: Path, family: str) -> None:
    """z reaches the output projection turned by a head, which no sum of results shows."""
    model = opened(root, family)
    spoiled = PatchableModel(
        copy.deepcopy(model.hf), model.processor, model.architecture, model.name
    )
    row = spoiled.modules.layers[1]
    kind: Any = type(row.o)
    axis, by = (1, row.d_head) if row.is_image else (-1, row.d_head)
    turned = {"forward": lambda self, z: kind.forward(self, z.roll(by, dims=axis))}
    row.o.__class__ = type("Turned", (kind,), turned)
    refusal(spoiled, spoiled.architecture)
