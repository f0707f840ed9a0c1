"""Ablation: equal to setting z by hand, in every family, however the examples are cut."""

from typing import Any

import numpy as np
import pytest
import torch
from modelmaking import CLASSES, make_family, make_inputs
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import CELLS, Example, Quad
from behavior.inputs import Input
from patching import PatchableModel, load_checkpoint
from patching.ablation import ablate_heads, answer_margin

FAMILIES = ("bert", "t5", "gpt2", "vit", "resnet")
Close = dict(rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module", params=FAMILIES)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, PatchableModel]:
    family: str = request.param
    folder = make_family(tmp_path_factory.mktemp(family) / family, family)
    return family, load_checkpoint(folder, check=False, dtype="float64")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> PatchableModel:
    folder = make_family(tmp_path_factory.mktemp("bert") / "bert", "bert")
    return load_checkpoint(folder, check=False, dtype="float64")


def examples_of(family: str, n: int, *, same_length: bool = False) -> list[Example[Input]]:
    inputs = make_inputs(family, 3 * n if same_length else n)
    chosen = inputs[::3] if same_length else inputs
    return [Example(f"e{i}", each, CLASSES[i % 3]) for i, each in enumerate(chosen)]


def margins(model: PatchableModel, examples: list[Example[Input]]) -> Tensor:
    truth = torch.tensor([CLASSES.index(example.label) for example in examples])
    return answer_margin(model.logits([example.input for example in examples]), truth)


def by_hand(model: PatchableModel, examples: list[Example[Input]], node: str, value: Any) -> Tensor:
    with model.patch({node: value}):
        return margins(model, examples)


def test_zero_ablation_is_setting_z_to_zero(opened: tuple[str, PatchableModel]) -> None:
    family, model = opened
    examples = examples_of(family, 7)
    found = ablate_heads(model, examples, "zero", batch_size=3)
    before = margins(model, examples)
    torch.testing.assert_close(found.margins, before, **Close)
    for node in model.spec.heads:
        after = by_hand(model, examples, node, 0.0)
        torch.testing.assert_close(found.node(node), before - after, **Close)
    assert found.values.std() > 1e-3


def test_mean_ablation_is_setting_z_to_its_mean(opened: tuple[str, PatchableModel]) -> None:
    family, model = opened
    examples = examples_of(family, 6, same_length=True)
    found = ablate_heads(model, examples, batch_size=4)
    _, cache = model.run_with_cache([example.input for example in examples], ["z"])
    before = margins(model, examples)
    for node in model.spec.heads[:: max(len(model.spec.heads) // 4, 1)]:
        after = by_hand(model, examples, node, cache[node].mean(0, keepdim=True))
        torch.testing.assert_close(found.node(node), before - after, **Close)
    assert found.reference == "mean over 6 inputs, position by position"
    assert found.heads.shape == (6, len(model.spec.rows), model.spec.n_heads)


def test_inputs_of_different_lengths_share_a_mean_over_real_positions(bert: PatchableModel) -> None:
    examples = examples_of("bert", 7)
    rows = bert.encode([example.input for example in examples])
    assert len({len(row) for row in rows}) > 1
    found = ablate_heads(bert, examples, batch_size=2)
    assert found.reference == "mean over 7 inputs, over all positions"
    _, cache = bert.run_with_cache([example.input for example in examples], ["z"])
    real = torch.cat([cache["a1.h2"][i, : len(row)] for i, row in enumerate(rows)])
    before = margins(bert, examples)
    after = by_hand(bert, examples, "a1.h2", real.mean(0))
    torch.testing.assert_close(found.node("a1.h2"), before - after, **Close)
    again = ablate_heads(bert, examples, batch_size=7)
    torch.testing.assert_close(again.values, found.values, **Close)


def test_the_mean_of_one_input_changes_nothing(opened: tuple[str, PatchableModel]) -> None:
    family, model = opened
    one = examples_of(family, 1)
    assert ablate_heads(model, one).values.abs().max() < 1e-6


def test_the_cells_of_a_quad_are_ablated_to_their_own_mean(bert: PatchableModel) -> None:
    cells = [example.input for example in examples_of("bert", 8, same_length=True)]
    quads = [Quad(f"q{i}", *cells[4 * i : 4 * i + 4], CLASSES[0], CLASSES[1]) for i in range(2)]
    found = ablate_heads(bert, quads, batch_size=4)
    assert found.units == ("q0",) * 4 + ("q1",) * 4
    assert found.ids[:4] == tuple(f"q0.{cell}" for cell in CELLS)
    for i, quad in enumerate(quads):
        examples = list(quad.examples())
        _, cache = bert.run_with_cache([example.input for example in examples], ["z"])
        truth = torch.tensor([CLASSES.index(example.label) for example in examples])
        with bert.patch({"a0.h1": cache["a0.h1"].mean(0, keepdim=True)}):
            patched = bert.logits([example.input for example in examples])
        plain = bert.logits([example.input for example in examples])
        expected = answer_margin(plain, truth) - answer_margin(patched, truth)
        torch.testing.assert_close(found.node("a0.h1")[4 * i : 4 * i + 4], expected, **Close)


def test_a_resample_takes_the_z_of_another_input_of_its_length(bert: PatchableModel) -> None:
    pair = examples_of("bert", 2, same_length=True)
    found = ablate_heads(bert, pair, "resample")
    _, cache = bert.run_with_cache([example.input for example in pair], ["z"])
    before = margins(bert, pair)
    after = by_hand(bert, pair, "a2.h0", cache["a2.h0"].flip(0))
    torch.testing.assert_close(found.node("a2.h0"), before - after, **Close)


def test_what_cannot_be_resampled_says_what_to_do(bert: PatchableModel) -> None:
    with pytest.raises(DataError, match="no other reference input has as many"):
        ablate_heads(bert, examples_of("bert", 2), "resample")


def test_labels_that_are_no_classes_are_read_as_the_task_says(bert: PatchableModel) -> None:
    texts = [example.input for example in examples_of("bert", 2)]
    names = ("entailment", "non-entailment")
    two = [Example(f"e{i}", each, names[i]) for i, each in enumerate(texts)]
    labels = ablate_heads(bert, two).readout["labels"]
    assert labels == {"entailment": ["entailment"], "non-entailment": ["neutral", "contradiction"]}
    with pytest.raises(DataError, match="nothing to tell it from"):
        ablate_heads(bert, two[1:])


def test_other_references_move_the_mean(bert: PatchableModel) -> None:
    examples = examples_of("bert", 6, same_length=True)
    whole = ablate_heads(bert, examples[:2], reference=examples)
    own = ablate_heads(bert, examples[:2])
    assert whole.reference.startswith("mean over 6 inputs")
    assert not torch.allclose(whole.values, own.values)
    with pytest.raises(DataError, match="Leave reference out"):
        quad = Quad("q", *[example.input for example in examples[:4]], CLASSES[0], CLASSES[1])
        ablate_heads(bert, [quad], reference=examples)


def test_with_two_labels_the_margin_is_the_logit_difference() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    torch.testing.assert_close(
        answer_margin(logits, torch.tensor([0, 0])), torch.tensor([3.0, -2.5])
    )


def test_with_more_labels_the_margin_is_the_log_odds_of_the_answer() -> None:
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(5)
    p = logits.softmax(-1)[range(5), truth]
    torch.testing.assert_close(answer_margin(logits, truth), torch.log(p / (1 - p)))


def test_a_summary_of_some_examples_is_their_mean(bert: PatchableModel) -> None:
    found = ablate_heads(bert, examples_of("bert", 8))
    summary = found.summary(where=[0, 2, 5])
    np.testing.assert_allclose(summary.mean, found.values[[0, 2, 5]].mean(0).numpy())
    assert summary.n == 3
