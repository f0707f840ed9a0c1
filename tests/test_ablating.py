"""Ablation in the weights: a saved folder answers as the patched model does."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from modelmaking import FAMILIES, make_bert, make_family, make_inputs, make_pairs
from torch import Tensor

from behavior.errors import DataError, ResultError
from behavior.inputs import Input
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

Opened = tuple[PatchableModel, tuple[Input, ...]]


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = make_family(tmp_path_factory.mktemp("ablating") / "m", request.param)
    return load_checkpoint(folder, dtype="float64"), make_inputs(request.param, 5, seed=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    return load_checkpoint(make_bert(tmp_path_factory.mktemp("bert") / "m"))


def choices(model: PatchableModel) -> list[tuple[str, ...]]:
    """One head; a row and a head of another; an MLP; everything that can be left out."""
    spec = model.spec
    found = [(spec.heads[1],), (spec.rows[-1], spec.heads[0]), (*spec.rows, *spec.mlps)]
    return [*found, (spec.mlps[-1], spec.heads[2])] if spec.mlps else found


def means(
    model: PatchableModel, nodes: Sequence[str], inputs: Sequence[Input]
) -> dict[str, Tensor]:
    """Input by input, so that there is no padding."""
    values: dict[str, list[Tensor]] = {node: [] for node in nodes}
    for one in inputs:
        _, cache = model.run_with_cache([one], sites=list(nodes))
        for node in nodes:
            values[node].append(cache[node][0])
    return {node: torch.cat(found).mean(dim=0) for node, found in values.items()}


def test_a_saved_folder_gives_the_logits_of_the_patch(opened: Opened, tmp_path: Path) -> None:
    model, inputs = opened
    plain = model.logits(inputs)
    for i, nodes in enumerate(choices(model)):
        folder = model.ablate(nodes).save_pretrained(tmp_path / f"zero{i}")
        with model.patch(dict.fromkeys(nodes, 0.0)):
            expected = model.logits(inputs)
        assert (expected - plain).abs().max() > 1e-4
        found = load_checkpoint(folder, dtype="float64").logits(inputs)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.logits(inputs), plain, rtol=0, atol=0)


def test_a_saved_folder_gives_the_logits_of_the_means(opened: Opened, tmp_path: Path) -> None:
    model, inputs = opened
    for i, nodes in enumerate(choices(model)):
        if model.spec.family == "t5":
            with pytest.raises(DataError, match="without a bias") as error:
                model.ablate(nodes, inputs)
            assert "\n" not in str(error.value)
            continue
        folder = model.ablate(nodes, inputs).save_pretrained(tmp_path / f"mean{i}")
        with model.patch(means(model, nodes, inputs)):
            expected = model.logits(inputs)
        found = load_checkpoint(folder, dtype="float64").logits(inputs)
        torch.testing.assert_close(found, expected)


def test_the_weights_of_a_silenced_head_are_zero_and_no_others(bert: PatchableModel) -> None:
    ablated = bert.ablate(["a1.h1"])
    assert (ablated.kind, ablated.nodes, ablated.name) == ("zero", ("a1.h1",), bert.name)
    changed = [
        name
        for name, weight in ablated.hf.state_dict().items()
        if not torch.equal(weight, bert.hf.state_dict()[name])
    ]
    assert changed == ["bert.encoder.layer.1.attention.output.dense.weight"]
    row = bert.modules.layers[1]
    difference = row.o.weight - ablated.hf.state_dict()[changed[0]]
    assert torch.equal(difference[:, row.columns(1)], row.o.weight[:, row.columns(1)])
    assert (difference[:, row.columns(0)] == 0).all()


def test_a_plain_transformers_model_opens_the_folder(bert: PatchableModel, tmp_path: Path) -> None:
    folder = bert.ablate(["a0.h0", "m1"]).save_pretrained(tmp_path / "new" / "model")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    again = type(bert.hf).from_pretrained(folder)
    assert (again.bert.encoder.layer[1].output.dense.weight == 0).all()


def test_a_folder_that_holds_something_is_left_alone(bert: PatchableModel, tmp_path: Path) -> None:
    ablated = bert.ablate(["a0.h0"])
    (tmp_path / "empty").mkdir()
    ablated.save_pretrained(tmp_path / "empty")
    with pytest.raises(ResultError, match="holds something already"):
        ablated.save_pretrained(tmp_path / "empty")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ResultError, match="holds something already"):
        ablated.save_pretrained(tmp_path / "file")
    with pytest.raises(ResultError, match="Cannot write"):
        ablated.save_pretrained(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "no nodes to ablate"),
        (["input"], "'input' cannot be ablated"),
        (["logits"], "'logits' cannot be ablated"),
        (["a0.h0", "a0.h0"], "stands twice"),
        (["a0", "a0.h1"], "'a0.h1' stands twice"),
        (["a7.h0"], r"a7\.h0"),
        (["nothing"], "Cannot read 'nothing'"),
    ],
)
def test_what_cannot_be_ablated_is_refused(
    bert: PatchableModel, nodes: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        bert.ablate(nodes)


def test_neither_no_inputs_nor_an_open_patch_gives_a_mean(bert: PatchableModel) -> None:
    with pytest.raises(DataError, match="no inputs"):
        bert.ablate(["a0.h0"], [])
    with bert.patch({"a0.h0": 0.0}), pytest.raises(DataError, match="inside"):
        bert.ablate(["a0.h1"], make_pairs(2).clean)
