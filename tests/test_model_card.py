"""The model card: its lines of code give the classifier's answers, its table says what is so."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from modelmaking import make_images
from PIL import Image

from behavior.inputs import Input, TextInput
from distillation.card import model_card
from distillation.families import (
    BertRecipe,
    ModelRecipe,
    PretrainedRecipe,
    ResNetRecipe,
    T5Recipe,
    ViTRecipe,
)
from distillation.models import build_classifier, make_preprocessor
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
NLI = ("non-entailment", "entailment")
DIGITS = tuple("0123456789")
PREMISE, HYPOTHESIS = "the doctor saw a lawyer", "the lawyer saw a doctor"
T5 = T5Recipe("t5", NLI, n_layers=2, d_model=16, n_heads=2, relative_bias=4.0)
MODELS: dict[str, ModelRecipe] = {
    "bert": BertRecipe(NLI, n_layers=2, d_model=16, n_heads=2),
    "t5": T5,
    "t5-words": replace(T5, head="label-words"),
    "vit": ViTRecipe("vit", DIGITS, n_layers=2, d_model=16, n_heads=2, image_size=8, patch_size=4),
    "resnet": ResNetRecipe("resnet", DIGITS, (4, 8), (1, 1), stem_width=4, image_size=16),
    "pretrained": PretrainedRecipe("pretrained", "FOLDER", NLI[::-1]),
    "pretrained-words": PretrainedRecipe("pretrained", "FOLDER", NLI[::-1], head="label-words"),
}


def recipe(name: str = "student-plain", **changes: Any) -> Recipe:
    return replace(load_recipe(RECIPES / f"{name}.yaml"), **changes)


def card(made: Recipe) -> str:
    return model_card(made, 0, {"A": 3, "N": 1}, {})


def row(made: Recipe, name: str) -> str:
    found = re.search(rf"^\| {name} \| (.*) \|$", card(made), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("name", MODELS)
def test_the_lines_of_a_card_give_the_answers_of_the_classifier(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    words = (*PREMISE.split(), *HYPOTHESIS.split())
    if isinstance(model, PretrainedRecipe):
        start = build_classifier(T5, make_preprocessor(T5, words), 1)
        start.model.save_pretrained(tmp_path / "source")
        start.preprocessor.save_pretrained(tmp_path / "source")
        model = replace(model, source=str(tmp_path / "source"))
    classifier = build_classifier(model, make_preprocessor(model, words), 0)
    classifier.model.eval().save_pretrained(tmp_path / "model")
    classifier.preprocessor.save_pretrained(tmp_path / "model")
    image = make_images(1)[0]
    asked: Input = image if model.reads == "image" else TextInput(PREMISE, HYPOTHESIS)
    variables: dict[str, Any] = {
        "FOLDER": str(tmp_path / "model"),
        "premise": PREMISE,
        "hypothesis": HYPOTHESIS,
        "image": Image.fromarray(image.source),
    }
    use = card(recipe(model=model)).partition("## Use\n")[2].partition("\n## ")[0]
    code = [line.removeprefix("    ") for line in use.splitlines() if line.startswith("    ")]
    exec("\n".join(code), variables)
    expected = classifier.predict(classifier.encode([asked]))
    assert expected.shape == (1, len(model.classes)) and expected.std() > 1e-3
    torch.testing.assert_close(variables["logits"].detach(), expected)


def test_no_pipeline_is_named_for_a_model_that_answers_with_words() -> None:
    """`text-classification` would give it a random head."""
    assert "pipeline_tag: text-classification\n" in card(recipe(model=MODELS["t5"]))
    assert "pipeline_tag: image-classification\n" in card(recipe(model=MODELS["vit"]))
    assert "pipeline_tag" not in card(recipe(model=MODELS["t5-words"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("teacher", "resampling, bias model overlap-counts"),
        ("teacher-weak-poe", "product-of-experts, bias model `weak-learner`"),
        ("teacher-learned-mixin-h", "learned-mixin, entropy 0.03, bias model overlap-counts"),
        ("student", "logit-distillation, alpha 0.5, temperature 2.0"),
    ],
)
def test_the_bias_model_of_an_objective_is_named_once(name: str, expected: str) -> None:
    assert row(recipe(name), "objective") == expected


def test_a_pretrained_network_does_not_start_from_fresh_weights() -> None:
    pretrained = recipe("minilm/student-plain")
    assert row(pretrained, "starts from") == "the pretrained network"
    assert row(recipe("minilm/teacher"), "starts from") == "`teacher-plain`"
    assert row(recipe("teacher"), "starts from") == "fresh weights"
