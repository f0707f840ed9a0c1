"""Classifiers on pretrained networks: what is kept, what is frozen, what is fresh."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from modelmaking import make_bert

from behavior.errors import RecipeError
from behavior.inputs import TextInput
from distillation.families import PretrainedRecipe
from distillation.models import build_classifier, make_preprocessor

CLASSES = ("non-entailment", "entailment")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of three layers, as somebody pretrained it."""
    folder = tmp_path_factory.mktemp("pretrained") / "bert"
    make_bert(folder)
    return folder


def recipe(folder: Path, **changes: object) -> PretrainedRecipe:
    plain = PretrainedRecipe("pretrained", str(folder), CLASSES)
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType]


def test_the_layers_named_are_those_of_the_source_and_the_head_is_fresh(source: Path) -> None:
    whole = build_classifier(recipe(source), make_preprocessor(recipe(source), ()), 0).model
    cut_recipe = recipe(source, layers=(0, 2))
    cut = build_classifier(cut_recipe, make_preprocessor(cut_recipe, ()), 0).model
    one, other = whole.state_dict(), cut.state_dict()
    for ours, theirs in ((0, 0), (1, 2)):
        name = "bert.encoder.layer.{}.output.dense.weight"
        assert torch.equal(other[name.format(ours)], one[name.format(theirs)])
    assert cut.config.num_hidden_layers == 2
    assert tuple(cut.config.id2label.values()) == CLASSES
    again = build_classifier(cut_recipe, make_preprocessor(cut_recipe, ()), 1).model.state_dict()
    assert not torch.equal(again["classifier.weight"], other["classifier.weight"])
    same = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(again[same], other[same])


def test_frozen_modules_are_not_trained(source: Path) -> None:
    frozen = recipe(source, freeze=("embeddings",)).build()
    trained = {name for name, weight in frozen.named_parameters() if weight.requires_grad}
    assert not any("embeddings" in name for name in trained)
    assert any("classifier" in name for name in trained)


def test_predictions_are_in_the_order_of_the_inputs_however_long_they_are(source: Path) -> None:
    made = recipe(source)
    classifier = build_classifier(made, make_preprocessor(made, ()), 0)
    words = ["the", "doctor", "saw", "a", "lawyer"]
    inputs = [TextInput(" ".join((words * 3)[: 1 + i * 7 % 13]), "the doctor") for i in range(9)]
    with torch.no_grad():
        singly = [
            classifier.model.eval()(**classifier.encode([one]).columns).logits for one in inputs
        ]
    together = classifier.predict(classifier.encode(inputs), batch_size=2)
    torch.testing.assert_close(together, torch.cat(singly), atol=1e-5, rtol=0)
    assert len(together.unique(dim=0)) == len(inputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (0, 7)}, r"layers are \[0, 7\], but the network has 3"),
        ({"freeze": ("embedings",)}, "freeze names 'embedings', but the network has no module"),
        ({"source": "nowhere/at-all"}, "source 'nowhere/at-all' cannot be opened"),
        ({"source": "package:no_such_thing/model"}, "the package 'no_such_thing' is not inst"),
        ({"source": "package:behavior/model"}, "'behavior' has no folder 'model'"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    source: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        recipe(source, **changes).build()
    assert "\n" not in str(caught.value)
