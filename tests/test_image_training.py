"""Training on images: folders any Hugging Face user can open, the colour bias, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForImageClassification

from behavior.digits import PALETTE
from behavior.errors import DataError, RecipeError
from behavior.inputs import ImageInput, TextInput
from behavior.tasks import load_task
from distillation.bias_models import FITTED, mean_colour, palette_colour
from distillation.data import encode
from distillation.evidence import HeldOutData, measure_run
from distillation.evidence.__main__ import main
from distillation.families import ResNetRecipe, ViTRecipe
from distillation.grid import train_grid
from distillation.models import build_classifier, image_processor, load_classifier
from distillation.prepare import Prepared, prepare
from distillation.recipe import Recipe, StartRecipe
from distillation.recipe_files import load_recipe
from distillation.remedies import copy_weights, counterfactual_twins

RECIPES = Path(__file__).parents[1] / "recipes"
FAMILIES = ("vit", "resnet")
TINY = ["data.n=300", "optimization.steps=4", "optimization.batch_size=8"]
SMALL = {
    "vit": ["model.d_model=16", "model.n_heads=2", "model.n_layers=2"],
    "resnet": ["model.widths=[4, 8]", "model.depths=[2, 1]", "model.stem_width=4"],
}
TEN = tuple(str(digit) for digit in range(10))


def tiny(name: str) -> Recipe:
    family = name.partition("-")[0]
    return load_recipe(RECIPES / f"{name}.yaml", [*TINY, *SMALL[family]])


def image(colour: tuple[int, int, int], size: int = 16) -> ImageInput:
    """A stroke of a colour on black."""
    pixels = np.zeros((size, size, 3), dtype=np.uint8)
    pixels[2:-2, 6:9] = colour
    return ImageInput(pixels)


def initial(prepared: Prepared) -> dict[str, Tensor]:
    """The weights that a training starts from."""
    return dict(prepared.materials.classifier.model.state_dict())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny teacher and student of each family."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = [tiny(f"{family}-{role}") for family in FAMILIES for role in ("teacher", "student")]
    train_grid(recipes, [0], folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_the_finished_folder_is_a_plain_hugging_face_folder(family: str, runs: Path) -> None:
    folder = runs / f"{family}-student" / "seed-0"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "README.md",
        "training.json",
    }
    quad = load_task("digits").quads(1)[0]
    inputs = [quad.A, quad.C]
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder)
    theirs = model(**processor([x.pixels() for x in inputs], return_tensors="pt")).logits
    classifier = load_classifier(folder)
    ours = classifier.predict(classifier.encode(inputs))
    torch.testing.assert_close(theirs, ours)
    assert not torch.equal(ours[0], ours[1]) and not model.training
    assert tuple(model.config.id2label.values()) == TEN
    card = (folder / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card and "AutoImageProcessor" in card


@pytest.mark.parametrize("family", FAMILIES)
def test_the_record_tells_the_cells_and_the_teacher(family: str, runs: Path) -> None:
    record, teacher = (
        json.loads((runs / f"{family}-{role}" / "seed-0" / "training.json").read_text())
        for role in ("student", "teacher")
    )
    assert record["parents"] == {f"{family}-teacher": teacher["digest"]}
    assert set(record["validation_accuracy"]) == {"A", "N", "C", "L"}
    assert record["data"]["n"] == 300 and record["recipe"]["model"]["family"] == family


def test_running_statistics_are_trained_and_saved(runs: Path) -> None:
    stored = load_file(runs / "resnet-teacher" / "seed-0" / "model.safetensors")
    means = stored["resnet.embedder.embedder.normalization.running_mean"]
    assert means.abs().sum() > 0
    assert int(stored["resnet.embedder.embedder.normalization.num_batches_tracked"]) == 4


def test_pixels_are_repeated_and_go_from_minus_one_to_one() -> None:
    given = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    values = encode(image_processor(16), [ImageInput(given)]).columns["pixel_values"][0]
    expected = given.repeat(2, 0).repeat(2, 1).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-6)


def test_images_of_any_size_and_shape_become_one_batch() -> None:
    inputs = [image(PALETTE[0], 3 + 9), image(PALETTE[1], 28)]
    encoded = encode(image_processor(16), inputs)
    assert encoded.columns["pixel_values"].shape == (2, 3, 16, 16) and len(encoded) == 2


def test_inputs_of_the_wrong_kind_are_refused(runs: Path) -> None:
    with pytest.raises(DataError, match="model reads images, but 1 of 2 inputs"):
        encode(image_processor(8), [image(PALETTE[0]), TextInput("a text")])
    with pytest.raises(DataError, match=r"overlap bias model .* got an image"):
        FITTED["overlap-counts"]([image(PALETTE[0])], torch.zeros(1).long(), 10)
    with pytest.raises(DataError, match="colour bias model needs images"):
        FITTED["colour-counts"]([TextInput("red")], torch.zeros(1).long(), 10)
    with pytest.raises(DataError, match="model reads text, but 300 of 300"):
        bert = load_recipe(RECIPES / "student-plain.yaml", ["model.d_model=16"])
        prepare(replace(tiny("vit-student-plain"), model=replace(bert.model, classes=TEN)), 0, {})


def test_the_ink_tells_the_colour_whatever_the_digit() -> None:
    quads = load_task("digits").quads(200)
    for cells, named in (("AC", "label"), ("NL", "foil")):
        inputs = [quad.cell(cell) for quad in quads for cell in cells]
        colours = [getattr(quad, named) for quad in quads for _ in cells]
        assert [str(int(colour)) for colour in palette_colour(inputs)] == colours
    assert mean_colour([image(PALETTE[3])])[0] == pytest.approx(PALETTE[3], abs=1.5)
    with pytest.raises(DataError, match="all black"):
        mean_colour([image((0, 0, 0))])


def test_colour_counts_are_the_frequencies_of_the_labels() -> None:
    violet, pink = image(PALETTE[0]), image(PALETTE[1])
    inputs, labels = [violet] * 8 + [pink] * 8, torch.tensor([0] * 7 + [2] + [1] * 8)
    bias = FITTED["colour-counts"](inputs, labels, 3)([violet, pink]).exp()
    torch.testing.assert_close(bias, torch.tensor([[8, 1, 2], [1, 9, 1]]) / 11)


def test_a_colour_regression_learns_that_colours_go_with_labels() -> None:
    colours = [image(colour) for colour in PALETTE]
    labels = torch.arange(10).repeat(10)
    bias = FITTED["colour-regression"](colours * 10, labels, 10)(colours)
    assert torch.equal(bias.argmax(-1), torch.arange(10)) and bias.exp().diagonal().min() > 0.3


def test_resampling_makes_colour_and_digit_nearly_independent() -> None:
    recipe = load_recipe(RECIPES / "vit-teacher.yaml", ["data.n=20000"])
    prepared = prepare(recipe, 0, {})
    visited = [prepared.materials.examples[i] for i in prepared.order[:20000].tolist()]
    aligned = sum(example.aligned is True for example in visited) / len(visited)
    # One of ten colours is the label's own; the count added to each leaves a little of the bias.
    assert 0.1 <= aligned <= 0.18


def test_students_of_one_seed_share_items_weights_and_order(runs: Path) -> None:
    parents = {"resnet-teacher": runs / "resnet-teacher" / "seed-0"}
    distilled = prepare(tiny("resnet-student"), 0, parents)
    plain = prepare(tiny("resnet-student-plain"), 0, {})
    assert distilled.materials.examples == plain.materials.examples and torch.equal(
        distilled.order, plain.order
    )
    states = (
        initial(distilled),
        initial(plain),
    )
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (
        distilled.materials.signals.teacher is not None
        and distilled.materials.signals.teacher.shape == (300, 10)
    )


def test_twins_are_the_other_digit_in_the_same_colour() -> None:
    task = load_task("digits", rho=0.9)
    drawn = list(task.examples("train", 40, seed=4))
    twins = counterfactual_twins(task, drawn, share=0.5, seed=4)
    assert len(twins) == 20
    for example, twin in zip(drawn, twins, strict=False):
        assert {example.group, twin.group} in ({"A", "C"}, {"N", "L"})
        assert twin.label != example.label
    inputs = [example.input for example in drawn[:20]]
    assert torch.equal(palette_colour(inputs), palette_colour([twin.input for twin in twins]))


def test_blocks_of_a_resnet_are_counted_through_its_stages() -> None:
    small = ResNetRecipe("resnet", TEN, widths=(4, 8), depths=(1, 1), stem_width=4, image_size=16)
    source = build_classifier(replace(small, depths=(2, 2)), image_processor(16), seed=1).model
    model = build_classifier(small, image_processor(16), seed=2).model
    copy_weights(model, source, [1, 2])
    ours, theirs = model.state_dict(), source.state_dict()
    stages = "resnet.encoder.stages"
    for name, value in ours.items():
        given = name.replace(f"{stages}.0.layers.0", f"{stages}.0.layers.1")
        assert torch.equal(value, theirs[given]), name
    with pytest.raises(RecipeError, match="the source has None"):
        copy_weights(model, source, [1, 3])
    with pytest.raises(RecipeError, match="a model with 4 layers for a model with 2"):
        copy_weights(model, source, [1, 4])


def test_layers_of_a_vit_are_copied() -> None:
    deep = ViTRecipe("vit", TEN, n_layers=3, d_model=8, n_heads=2, image_size=8, patch_size=2)
    source = build_classifier(deep, image_processor(8), seed=1).model
    model = build_classifier(replace(deep, n_layers=1), image_processor(8), seed=2).model
    copy_weights(model, source, [2])
    theirs = source.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, theirs[name.replace("layers.0.", "layers.2.")]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_warm_start_begins_where_its_source_ended(family: str, runs: Path) -> None:
    folder = runs / f"{family}-teacher" / "seed-0"
    recipe = replace(tiny(f"{family}-teacher"), start=StartRecipe(f"{family}-teacher"))
    ours = initial(prepare(recipe, 0, {f"{family}-teacher": folder}))
    theirs = load_classifier(folder).model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_text_model_does_not_start_from_an_image_model(runs: Path) -> None:
    bert = load_recipe(RECIPES / "teacher.yaml").model
    with pytest.raises(RecipeError, match="the model it starts from reads images"):
        build_classifier(bert, image_processor(16), seed=0)


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        ("vit-teacher", "model.family=swin", r"model\.family must be one of 'bert', 't5', 'vit'"),
        ("vit-teacher", "model.patch_size=5", r"model\.image_size must be a multiple of patch_siz"),
        ("vit-teacher", "model.n_heads=7", r"model\.d_model must be a multiple of n_heads = 7"),
        ("vit-teacher", "model.family=resnet", r"model\.n_layers is unknown"),
        ("vit-teacher", "model.max_length=32", r"model\.max_length is unknown"),
        ("resnet-teacher", "model.depths=[2, 2]", r"model\.widths must be as many as depths"),
        ("resnet-teacher", "model.depths=[2, 0, 2]", r"model\.depths must be one number of at le"),
        ("resnet-teacher", "model.image_size=8", r"model\.image_size must be at least 16"),
        ("resnet-teacher", "model.block=wide", r"model\.block must be one of 'basic', 'bottlenec"),
        ("resnet-teacher", "model.classes=['1', '1']", r"model\.classes must be at least two nam"),
    ],
)
def test_a_broken_image_recipe_is_one_line_that_names_the_key(
    recipe: str, setting: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(RECIPES / f"{recipe}.yaml", [setting])
    assert "\n" not in str(caught.value)


def test_evidence_is_measured_on_digits(runs: Path, tmp_path: Path) -> None:
    data = HeldOutData.draw(load_task("digits"), n_quads=20)
    one, other = (measure_run(runs / "vit-student" / "seed-0", data) for _ in range(2))
    assert one == other and 0 <= (one.values["accuracy_C"] or 0) <= 1
    out = ["--out", str(tmp_path), "--quads", "20", "--task", "digits"]
    assert main(["--runs", str(runs), *out]) == 0
    page = (tmp_path / "evidence.md").read_text()
    assert "## Minus `vit-student` of the same seed" in page
    assert "| resnet-student | 0 |" in page
