"""Remedies: what is copied of a teacher, what files and recolouring add, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from behavior.errors import DataError, RecipeError
from behavior.examples import Example
from behavior.inputs import ImageInput
from behavior.sources import SourceTask
from behavior.tasks import load_task
from distillation.bias_models import palette_colour
from distillation.classifier import Classifier
from distillation.families import BertRecipe, ModelRecipe, ResNetRecipe, T5Recipe, ViTRecipe
from distillation.models import build_classifier, make_preprocessor
from distillation.prepare import prepare
from distillation.recipe_files import list_recipes, load_recipe
from distillation.remedies import (
    AugmentRecipe,
    copy_weights,
    counterfactual_twins,
    estimate_norms,
    read_augmentation,
    recoloured_twins,
)
from distillation.remedies.start import evenly
from distillation.training import train

RECIPES = Path(__file__).parents[1] / "recipes"
NLI = ("non-entailment", "entailment")
WORDS = ("the", "kid", "slept", "doctor")
DIGITS = tuple("0123456789")
BERT = BertRecipe(NLI, n_layers=3, d_model=16, n_heads=4)
T5 = T5Recipe("t5", NLI, n_layers=3, d_model=16, n_heads=4)
VIT = ViTRecipe("vit", DIGITS, n_layers=3, d_model=16, n_heads=4, image_size=8, patch_size=4)
RESNET = ResNetRecipe("resnet", DIGITS, (8, 16), (2, 2), stem_width=8, image_size=16)
TINY = ["data.n=40", "model.d_model=16", "model.n_heads=2", "optimization.steps=2"]


def network(recipe: ModelRecipe, seed: int) -> PreTrainedModel:
    return build_classifier(recipe, make_preprocessor(recipe, WORDS), seed).model


def randomised(model: PreTrainedModel) -> PreTrainedModel:
    """Every number another one, biases and statistics of norms included."""
    generator = torch.Generator().manual_seed(9)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model


@pytest.mark.parametrize("head", ["classifier", "label-words"])
def test_both_stacks_of_a_t5_are_copied_and_its_bias_comes_from_layer_0(head: str) -> None:
    deep = replace(T5, head=head)
    source, model = randomised(network(deep, 1)), network(replace(deep, n_layers=2), 2)
    copy_weights(model, source, [1, 2])
    ours, theirs = model.state_dict(), source.state_dict()
    for name, value in ours.items():
        given = name.replace("block.1.", "block.2.").replace("block.0.", "block.1.")
        given = name if "relative_attention_bias" in name else given
        assert torch.equal(value, theirs[given]), name
    biases = [name for name in ours if "relative_attention_bias" in name]
    assert len(biases) == 2 and all(".block.0." in f".{name}" for name in biases)


def test_evenly_takes_every_kth_or_the_nearest() -> None:
    assert evenly(2, 4).tolist() == [0, 2] and evenly(3, 3).tolist() == [0, 1, 2]
    assert evenly(3, 4).tolist() == [0, 2, 3]


NARROW: dict[str, tuple[ModelRecipe, ModelRecipe]] = {
    "bert": (BERT, replace(BERT, n_layers=2, d_model=8, n_heads=2)),
    "t5": (T5, replace(T5, n_layers=2, d_model=8, n_heads=2)),
    "vit": (VIT, replace(VIT, n_layers=2, d_model=8, n_heads=2)),
}


@pytest.mark.parametrize("family", NARROW)
def test_whole_heads_and_evenly_spaced_channels_of_a_wider_model_are_taken(family: str) -> None:
    wide, narrow = NARROW[family]
    source, model = randomised(network(wide, 1)), network(narrow, 2)
    copy_weights(model, source, [0, 2], select="uniform", heads=(1, 3))
    name = {
        "bert": "bert.encoder.layer.{}.attention.self.query.weight",
        "t5": "transformer.encoder.block.{}.layer.0.SelfAttention.q.weight",
        "vit": "vit.layers.{}.attention.q_proj.weight",
    }[family]
    ours, theirs = model.state_dict(), source.state_dict()
    # Heads 1 and 3 of four, of width 4 each, whole; every other channel of the stream.
    rows, stream = [4, 5, 6, 7, 12, 13, 14, 15], slice(None, None, 2)
    for mine, other in ((0, 0), (1, 2)):
        expected = theirs[name.format(other)][rows][:, stream]
        assert torch.equal(ours[name.format(mine)], expected)


def test_the_output_projection_takes_the_same_heads_as_the_queries() -> None:
    source, model = randomised(network(BERT, 1)), network(NARROW["bert"][1], 2)
    copy_weights(model, source, [0, 2], select="uniform")
    name = "bert.encoder.layer.1.attention.output.dense.weight"
    theirs = source.state_dict()[name.replace("layer.1", "layer.2")]
    expected = theirs[::2][:, [0, 1, 2, 3, 8, 9, 10, 11]]
    assert torch.equal(model.state_dict()[name], expected)


def test_narrower_heads_take_channels_within_each_head() -> None:
    source, model = randomised(network(BERT, 1)), network(replace(BERT, d_model=8), 2)
    copy_weights(model, source, select="uniform")
    name = "bert.encoder.layer.0.attention.self.key.bias"
    expected = source.state_dict()[name][[0, 2, 4, 6, 8, 10, 12, 14]]
    assert torch.equal(model.state_dict()[name], expected)


def test_selecting_of_an_equal_model_copies_it_whole() -> None:
    for recipe in (BERT, T5, VIT, RESNET):
        source, model = randomised(network(recipe, 1)), network(recipe, 2)
        copy_weights(model, source, select="uniform")
        ours, theirs = model.state_dict(), source.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_channels_and_statistics_of_a_wider_resnet_are_taken_together() -> None:
    narrow = replace(RESNET, widths=(4, 8), depths=(1, 1), stem_width=4)
    source, model = randomised(network(RESNET, 1)), network(narrow, 2)
    copy_weights(model, source, [0, 2], select="uniform")
    stage = "resnet.encoder.stages.1.layers.0.layer.1"
    ours, theirs = model.state_dict(), source.state_dict()
    for name in (f"{stage}.convolution.weight", f"{stage}.normalization.running_mean"):
        expected = theirs[name][::2]
        assert torch.equal(ours[name], expected[:, ::2] if expected.dim() == 4 else expected)


def test_the_head_is_copied_by_the_names_of_the_classes() -> None:
    source = randomised(network(BERT, 1))
    model = network(replace(BERT, classes=NLI[::-1]), 2)
    copy_weights(model, source)
    ours, theirs = model.state_dict(), source.state_dict()
    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(ours[name], theirs[name].flip(0))
    with pytest.raises(RecipeError, match="a head for the classes non-entailment, entailment, but"):
        copy_weights(network(replace(BERT, classes=("no", "yes")), 2), source)


@pytest.mark.parametrize(
    ("model", "source", "options", "message"),
    [
        (replace(BERT, d_model=8), BERT, {}, "start.select: uniform takes a part"),
        (BERT, replace(BERT, d_model=8), {"select": "uniform"}, "the source has None"),
        (BERT, replace(BERT, n_heads=2), {"select": "uniform"}, "takes 4 heads of a model with 2"),
        (BERT, BERT, {"select": "uniform", "heads": (0, 1)}, r"start.heads is \[0, 1\], but"),
        (BERT, BERT, {"select": "uniform", "heads": (0, 1, 2, 9)}, "Name one existing head"),
        (RESNET, RESNET, {"select": "uniform", "heads": (0,)}, "but a ResNet has none"),
        (
            replace(RESNET, block="bottleneck"),
            RESNET,
            {"select": "uniform"},
            "start copies resnet.encoder",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    model: ModelRecipe, source: ModelRecipe, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        copy_weights(network(model, 2), network(source, 1), **options)


def test_norms_become_the_mean_over_batches_and_weights_stay() -> None:
    classifier = build_classifier(RESNET, make_preprocessor(RESNET, ()), 1)
    examples = list(load_task("digits").examples("train", 32))
    inputs = classifier.encode([example.input for example in examples])
    before = {name: value.clone() for name, value in classifier.model.named_parameters()}
    assert estimate_norms(classifier, inputs, n_batches=2, batch_size=16) > 0
    state = classifier.model.state_dict()
    stem = classifier.model.get_submodule("resnet.embedder.embedder.convolution")
    with torch.no_grad():
        channels = stem(inputs.columns["pixel_values"])
    means = channels.mean((0, 2, 3))
    torch.testing.assert_close(
        state["resnet.embedder.embedder.normalization.running_mean"], means, rtol=1e-4, atol=1e-5
    )
    assert all(torch.equal(before[name], x) for name, x in classifier.model.named_parameters())
    momenta = {getattr(module, "momentum", 0.1) for module in classifier.model.modules()}
    assert momenta == {0.1}


def test_a_network_without_batch_norms_is_left_alone() -> None:
    classifier = build_classifier(VIT, make_preprocessor(VIT, ()), 1)
    examples = list(load_task("digits").examples("train", 4))
    assert estimate_norms(classifier, classifier.encode([x.input for x in examples])) == 0


MNLI_ROW = "{i}\tba\tba\tba\tba\tba\tba\tba\t{premise}\t{hypothesis}\tba\t{label}\n"


@pytest.fixture
def augmentation(tmp_path: Path) -> Path:
    """A folder as the published ones are: headless and headed tables, notes, and held-out files."""
    labels = ("entailment", "neutral", "contradiction", "-")
    rows = [
        MNLI_ROW.format(i=i, premise=f"the kid {i}", hypothesis="the doctor", label=labels[i % 4])
        for i in range(20)
    ]
    (tmp_path / "inv_orig_large.tsv").write_text("".join(rows))
    header = "sentence1\tsentence2\tgold_label\n"
    (tmp_path / "revised_train.tsv").write_text(header + "the kid\tthe kid slept\tneutral\n" * 5)
    (tmp_path / "revised_test.tsv").write_text(header + "held\tout\tentailment\n" * 99)
    (tmp_path / "SOURCE.txt").write_text("repo: somewhere\n")
    (tmp_path / "LICENSE").write_text("Permission is granted.\n")
    return tmp_path


def test_files_are_added_in_the_stated_share_with_labels_by_name(augmentation: Path) -> None:
    read = read_augmentation(AugmentRecipe(str(augmentation), 0.2), 80, NLI, seed=0)
    assert len(read.examples) == 16 and read.record["n"] == 16 and read.record["share"] == 0.2
    assert read.record["usable"] == 20 and read.record["dropped"] == 5
    assert read.record["files"] == ["inv_orig_large.tsv", "revised_train.tsv"]
    assert {x.label for x in read.examples} == set(NLI)
    assert {x.group for x in read.examples} == {"augmentation"}
    assert not any("held" in x.input.premise for x in read.examples)


def test_three_way_labels_stay_three_way_where_the_student_has_them(augmentation: Path) -> None:
    classes = ("entailment", "neutral", "contradiction")
    read = read_augmentation(AugmentRecipe(str(augmentation), 1.0), 20, classes, seed=0)
    assert {x.label for x in read.examples} == set(classes)


def test_the_seed_decides_which_rows_are_added(augmentation: Path) -> None:
    recipe = AugmentRecipe(str(augmentation), 0.5, files="inv_*.tsv")
    one, again, other = (read_augmentation(recipe, 20, NLI, seed) for seed in (0, 0, 1))
    assert one.examples == again.examples != other.examples
    assert one.record["sha256"] == other.record["sha256"]


def test_files_that_cannot_be_added_are_refused(augmentation: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is 100, but .* holds 20 rows .* to at most 0.2000"):
        read_augmentation(AugmentRecipe(str(augmentation), 1.0), 100, NLI, seed=0)
    with pytest.raises(RecipeError, match="there is no such file"):
        read_augmentation(AugmentRecipe(str(tmp_path / "none"), 0.1), 100, NLI, seed=0)
    with pytest.raises(RecipeError, match=r"holds no file '\*_test.tsv'"):
        read_augmentation(AugmentRecipe(str(augmentation), 0.1, "*_test.tsv"), 100, NLI, seed=0)
    broken = augmentation / "broken.tsv"
    broken.write_text(MNLI_ROW.format(i=0, premise="a", hypothesis="b", label="neutral") + "1\t2\n")
    with pytest.raises(DataError, match=r"broken.tsv, line 2: has 2 columns, but 12"):
        read_augmentation(AugmentRecipe(str(broken), 0.1), 10, NLI, seed=0)


def test_added_files_are_trained_on_and_stated_in_the_record(
    augmentation: Path, tmp_path: Path
) -> None:
    setting = f"data.augment={{path: {augmentation}, share: 0.25}}"
    recipe = load_recipe(RECIPES / "student-plain.yaml", [*TINY, setting])
    out = train(recipe, 0, tmp_path / "out" / "seed-0")
    record = json.loads((out / "training.json").read_text())
    assert record["recipe"]["data"]["augment"]["share"] == 0.25
    assert record["added"]["augment"]["n"] == record["data"]["cells"]["augmentation"] == 10
    assert record["data"]["n"] == 50


def test_text_in_other_words_than_the_students_is_refused(tmp_path: Path) -> None:
    row = "Confounding interpretation it epitomizes\tZen Buddhism\tneutral\n"
    (tmp_path / "a.tsv").write_text("sentence1\tsentence2\tgold_label\n" + row * 5)
    setting = f"data.augment={{path: {tmp_path}, share: 0.1}}"
    recipe = load_recipe(RECIPES / "student-plain.yaml", [*TINY, setting])
    with pytest.raises(RecipeError, match=r"100% of the words that .* adds are unknown"):
        prepare(recipe, 0, {})


def test_recoloured_digits_are_the_same_digit_in_the_other_colour() -> None:
    task = load_task("digits", rho=0.9)
    drawn = list(task.examples("train", 40, seed=4))
    copies = recoloured_twins(task, drawn, 0.5, seed=4)
    assert len(copies) == 20
    for example, copy in zip(drawn, copies, strict=False):
        assert {example.group, copy.group} in ({"A", "N"}, {"C", "L"})
        assert copy.label == example.label and copy.aligned != example.aligned
        inked, also = (x.input.pixels().any(-1) for x in (example, copy))
        assert np.array_equal(inked, also)
    colours = [palette_colour([x.input for x in items]) for items in (drawn[:20], copies)]
    assert not (colours[0] == colours[1]).any()


def test_other_images_are_recoloured_by_changing_their_channels() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 200, 50
    items = [Example(str(i), ImageInput(pixels), "cat") for i in range(6)]
    plain = load_task("nli-overlap")

    images = SourceTask("photographs", {}, {"train": tuple(items)}, {}, limits="")
    copies = recoloured_twins(images, items, 1.0, seed=0)
    assert all(sorted(x.input.pixels()[0, 0].tolist()) == [0, 50, 200] for x in copies)
    assert all(not np.array_equal(x.input.pixels(), pixels) for x in copies)
    with pytest.raises(RecipeError, match=r"has texts. Use data.counterfactuals"):
        recoloured_twins(plain, list(plain.examples("train", 4)), 0.5, seed=0)


def test_remedies_are_combined_in_a_fixed_order() -> None:
    settings = [
        "data.n=40",
        "data.counterfactuals=0.5",
        "data.recolour=0.25",
        "model.d_model=16",
        "model.n_heads=2",
        "optimization.steps=2",
    ]
    prepared = prepare(load_recipe(RECIPES / "vit-student-plain.yaml", settings), 0, {})
    examples, task = prepared.materials.examples, prepared.materials.task
    assert len(examples) == 70
    assert prepared.added == {
        "counterfactuals": {"share": 0.5, "n": 20},
        "recolour": {"share": 0.25, "n": 10},
    }
    assert list(examples[40:60]) == counterfactual_twins(task, examples[:40], 0.5, 0)


def test_a_student_that_takes_channels_of_its_teacher_starts_with_norms_of_its_own(
    tmp_path: Path,
) -> None:
    small = ["data.n=40", "model.image_size=16", "optimization.steps=2"]
    wide = [*small, "model.widths=[8, 16, 32]", "model.stem_width=8"]
    teacher = train(load_recipe(RECIPES / "resnet-teacher.yaml", wide), 0, tmp_path / "teacher")
    narrow = [*small, "model.widths=[4, 8, 16]", "model.stem_width=4"]
    recipe = load_recipe(RECIPES / "resnet-student-teacher-init.yaml", narrow)
    prepared = prepare(recipe, 0, {"resnet-teacher": teacher})
    classifier = prepared.materials.classifier
    before = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    estimate_norms(classifier, prepared.materials.inputs)
    after = classifier.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("remedy", "original", "differs"),
    [
        ("student-born-again", "student", {"teacher"}),
        ("student-born-again-2", "student-born-again", {"teacher"}),
        ("student-width-init", "student", {"start"}),
        ("student-combined", "student-teacher-init", {"data"}),
        ("student-circuit-guided", "student-teacher-init", {"objective"}),
        ("student-circuit-guided-fresh", "student", {"objective"}),
        ("vit-student-wide", "vit-student", {"model"}),
        ("vit-student-teacher-init", "vit-student-wide", {"start"}),
        ("vit-student-augmented", "vit-student", {"data"}),
        ("vit-student-recoloured", "vit-student", {"data"}),
        ("resnet-student-teacher-init", "resnet-student", {"start"}),
        ("resnet-student-augmented", "resnet-student", {"data"}),
        ("resnet-student-recoloured", "resnet-student", {"data"}),
    ],
)
def test_a_remedy_differs_from_its_control_in_one_thing(
    remedy: str, original: str, differs: set[str]
) -> None:
    recipes = list_recipes(RECIPES)
    one, other = recipes[remedy].to_json(), recipes[original].to_json()
    assert {key for key in one if one[key] != other[key]} == differs | {"name", "description"}


def test_weights_selected_of_a_classifier_give_a_classifier_that_runs() -> None:
    wide, narrow = NARROW["bert"]
    preprocessor = make_preprocessor(wide, WORDS)
    source = build_classifier(wide, preprocessor, 1)
    student: Classifier = build_classifier(narrow, preprocessor, 2)
    copy_weights(student.model, source.model, [0, 2], select="uniform")
    task = load_task("nli-overlap")
    answers: Tensor = student.predict(student.encode([x.input for x in task.examples("train", 4)]))
    assert answers.shape == (4, 2) and torch.isfinite(answers).all()
