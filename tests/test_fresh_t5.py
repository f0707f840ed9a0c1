"""Initial relative position biases: a fresh T5 that hardly sees the order of words learns none."""

from dataclasses import replace
from typing import Literal

import pytest
import torch

from behavior.grammar import VOCABULARY
from behavior.tasks import load_task
from distillation.classifier import Classifier
from distillation.families import T5Recipe
from distillation.models import build_classifier, make_preprocessor

NLI = ("non-entailment", "entailment")
PLAIN = T5Recipe("t5", NLI, n_layers=2, d_model=32, n_heads=4)
HEADS = ("classifier", "label-words")
Head = Literal["classifier", "label-words"]


def fresh(factor: float, head: Head, seed: int = 0) -> Classifier:
    recipe = replace(PLAIN, relative_bias=factor, head=head)
    return build_classifier(recipe, make_preprocessor(recipe, VOCABULARY), seed)


def order_against_words(classifier: Classifier) -> float:
    """How far an exchange of two words moves the margin, beside how far other words do."""
    quads = load_task("nli-overlap").quads(64, 0)
    a, c = (
        classifier.predict(classifier.encode([quad.cell(cell) for quad in quads])).diff(dim=1)
        for cell in ("A", "C")
    )
    return float((a - c).abs().mean() / a.std())


@pytest.mark.parametrize("head", HEADS)
def test_the_factor_scales_relative_biases_and_nothing_else(head: Head) -> None:
    before, after = (dict(fresh(factor, head).model.named_parameters()) for factor in (1.0, 16.0))
    scaled = {name for name in before if name.endswith("relative_attention_bias.weight")}
    assert len(scaled) == 2
    for name, weight in before.items():
        expected = 16.0 * weight if name in scaled else weight
        assert torch.equal(after[name], expected), name


def test_with_the_factor_a_fresh_network_sees_the_order_of_words() -> None:
    """Of the network that answers with words; the classifier's decoder reads the words as well."""
    for seed in range(3):
        blind, seeing = (
            order_against_words(fresh(factor, "label-words", seed)) for factor in (1.0, 16.0)
        )
        assert blind < 0.2 and seeing > 1.8 * blind, (blind, seeing)
