"""Classifiers on pretrained networks: what is kept, what is frozen, what is fresh."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from modelmaking import IMAGE_FAMILIES, make_bert, make_family, make_inputs
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)

from behavior.errors import RecipeError
from behavior.grammar import VOCABULARY
from behavior.inputs import TextInput
from distillation.classifier import Classifier
from distillation.families import PretrainedRecipe, T5Recipe
from distillation.models import build_classifier, load_classifier, make_preprocessor
from distillation.recipe_files import load_recipe
from distillation.training import train

CLASSES = ("non-entailment", "entailment")
NLI = ("entailment", "neutral", "contradiction")
DEPTHS = {
    "bert": {"num_hidden_layers": 4},
    "t5": {"num_layers": 4, "num_decoder_layers": 4},
    "vit": {"num_hidden_layers": 4},
    "gpt2": {"n_layer": 4},
}


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


def built(made: PretrainedRecipe, seed: int = 0) -> Classifier:
    return build_classifier(made, make_preprocessor(made, ()), seed)


def saved(classifier: Classifier, folder: Path) -> Classifier:
    """The same classifier as the next user opens it."""
    classifier.model.save_pretrained(folder)
    classifier.preprocessor.save_pretrained(folder)
    return load_classifier(folder)


def answers(classifier: Classifier, family: str) -> Tensor:
    return classifier.predict(classifier.encode(make_inputs(family, 5)))


def of_family(family: str, folder: Path, **changes: object) -> PretrainedRecipe:
    reads = "image" if family in IMAGE_FAMILIES else "text"
    return recipe(folder, reads=reads, **changes)


@pytest.mark.parametrize("family", DEPTHS)
def test_a_cut_network_is_the_same_when_it_is_opened_again(family: str, tmp_path: Path) -> None:
    source = make_family(tmp_path / "source", family, **DEPTHS[family])
    cut = built(of_family(family, source, layers=(1, 3)))
    again = saved(cut, tmp_path / "cut")
    torch.testing.assert_close(answers(again, family), answers(cut, family), atol=1e-6, rtol=1e-6)
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    assert {config[field] for field in DEPTHS[family]} == {2}


def test_both_stacks_of_a_t5_are_cut_and_their_biases_come_from_layer_0(tmp_path: Path) -> None:
    source = make_family(tmp_path / "t5", "t5", **DEPTHS["t5"])
    whole, cut = (
        built(recipe(source, layers=layers)).model.state_dict() for layers in (None, (1, 3))
    )
    for stack in ("encoder", "decoder"):
        blocks = f"transformer.{stack}.block"
        assert {name.split(".")[3] for name in cut if name.startswith(blocks)} == {"0", "1"}
        for ours, theirs in ((0, 1), (1, 3)):
            name = f"{blocks}.{{}}.layer.0.SelfAttention.v.weight"
            assert torch.equal(cut[name.format(ours)], whole[name.format(theirs)])
        bias = f"{blocks}.0.layer.0.SelfAttention.relative_attention_bias.weight"
        assert torch.equal(cut[bias], whole[bias])


def test_networks_that_nothing_here_opens_are_cut_as_well(tmp_path: Path) -> None:
    """DeBERTa, and ModernBERT, whose config has a word for each layer."""
    sizes = {"num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"vocab_size": 40, "intermediate_size": 32, "pad_token_id": 0}
    ends = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
    networks = {
        "deberta.encoder.layer.{}.attention.self.query_proj.weight": (
            DebertaV2ForSequenceClassification(DebertaV2Config(**sizes))
        ),
        "model.layers.{}.attn.Wqkv.weight": (
            ModernBertForSequenceClassification(ModernBertConfig(**sizes, **ends))
        ),
    }
    for name, network in networks.items():
        network.save_pretrained(tmp_path)
        cut = recipe(tmp_path, layers=(1, 3)).build()
        whole = network.state_dict()
        assert torch.equal(cut.state_dict()[name.format(1)], whole[name.format(3)])
        cut.save_pretrained(tmp_path)
        again = type(cut).from_pretrained(tmp_path)
        tokens = torch.tensor([[1, 5, 6, 7, 2]])
        torch.testing.assert_close(again(tokens).logits, cut(tokens).logits)
        assert again.config.num_hidden_layers == 2


@pytest.mark.parametrize(
    ("family", "layers", "message"),
    [
        ("t5", (0, 1), r"layers are \[0, 1\], but the network has stacks of 3 and 2 layers"),
        ("resnet", (0, 1), r"layers are \[0, 1\], but a resnet is no list of equal layers"),
    ],
)
def test_layers_that_cannot_be_cut_are_one_line(
    family: str, layers: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    source = make_family(tmp_path / family, family)
    with pytest.raises(RecipeError, match=message) as caught:
        of_family(family, source, layers=layers).build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "vit", "resnet"])
def test_a_head_for_the_same_classes_is_kept_by_their_names(family: str, tmp_path: Path) -> None:
    source = make_family(tmp_path / family, family)
    before = answers(load_classifier(source), family)
    for classes in (NLI, NLI[::-1], ("Neutral", "ENTAILMENT", "contradiction")):
        classifier = built(of_family(family, source, classes=classes))
        assert classifier.classes == classes
        order = [NLI.index(name.lower()) for name in classes]
        torch.testing.assert_close(answers(classifier, family), before[:, order])


@pytest.mark.parametrize("family", ["bert", "t5", "resnet"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (("LABEL_0", "LABEL_1", "LABEL_2"), NLI),
        (("positive", "neutral", "negative"), NLI),
        (NLI, CLASSES),
    ],
)
def test_a_head_for_other_classes_is_drawn_by_the_seed(
    family: str, theirs: tuple[str, ...], ours: tuple[str, ...], tmp_path: Path
) -> None:
    source = make_family(tmp_path / family, family, seed=7, id2label=dict(enumerate(theirs)))
    given = load_classifier(source).model.state_dict()
    made = of_family(family, source, classes=ours)
    one, again, other = (built(made, seed).model.state_dict() for seed in (0, 0, 1))
    last = {"bert": "classifier", "t5": "classification_head.out_proj", "resnet": "classifier.1"}
    rows = {f"{last[family]}.{part}" for part in ("weight", "bias")}
    for name, value in one.items():
        assert torch.equal(value, again[name]), name
        if name not in rows:
            assert torch.equal(value, given[name]) and torch.equal(value, other[name]), name
    row = f"{last[family]}.weight"
    assert not torch.equal(one[row], other[row])
    for taken in given[row]:
        assert not any(torch.equal(taken, drawn) for drawn in one[row])


@pytest.fixture
def t5_of_words(tmp_path: Path) -> Path:
    """A T5 with a head that gives words, as somebody pretrained it, and its tokenizer."""
    made = T5Recipe("t5", CLASSES, n_layers=3, d_model=16, n_heads=2, head="label-words")
    whole = build_classifier(made, make_preprocessor(made, VOCABULARY), 5)
    whole.model.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    whole.model.save_pretrained(tmp_path / "t5")
    whole.preprocessor.save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def test_a_pretrained_t5_answers_with_the_names_of_its_classes(
    t5_of_words: Path, tmp_path: Path
) -> None:
    path = tmp_path / "words.yaml"
    path.write_text(
        f"""
description: A pretrained T5 that answers with words.
data: {{task: nli-overlap, options: {{rho: 0.9}}, n: 40}}
model:
  family: pretrained
  source: {t5_of_words}
  head: label-words
  classes: [entailment, non-entailment]
  layers: [0, 2]
objective: {{name: plain}}
optimization: {{steps: 3, batch_size: 8}}
"""
    )
    made = load_recipe(path)
    assert isinstance(made.model, PretrainedRecipe)
    trained = load_classifier(train(made, 0, tmp_path / "run"))
    assert trained.classes == made.model.classes
    words = [trained.preprocessor.convert_tokens_to_ids(name) for name in made.model.classes]
    assert trained.label_tokens == tuple(words)
    start = built(made.model)
    assert start.label_tokens == trained.label_tokens
    inputs = start.encode([TextInput("the doctor saw a lawyer", "the lawyer saw a doctor")])
    assert not torch.equal(start.predict(inputs), trained.predict(inputs))
    given = load_file(t5_of_words / "model.safetensors")
    ours = start.model.state_dict()
    assert torch.equal(ours["lm_head.weight"], given["shared.weight"])
    value = "decoder.block.{}.layer.1.EncDecAttention.v.weight"
    assert torch.equal(ours[value.format(1)], given[value.format(2)])


@pytest.mark.parametrize(
    ("family", "reads", "message"),
    [
        ("bert", "text", "head is 'label-words', but .* is a bert, and only a t5 answers with wo"),
        ("vit", "image", "head must be classifier for a network that reads images, got 'label-w"),
    ],
)
def test_only_a_t5_answers_with_words(
    family: str, reads: str, message: str, tmp_path: Path
) -> None:
    source = make_family(tmp_path / family, family)
    with pytest.raises(RecipeError, match=message) as caught:
        recipe(source, reads=reads, head="label-words").build()
    assert "\n" not in str(caught.value)


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
