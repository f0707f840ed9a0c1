"""Debiasing methods in every family: the features, the last layer, what recipes are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from behavior.errors import CircuitsError, RecipeError
from distillation.features import last_layer, predict_features
from distillation.mixing import mixed_logits
from distillation.models import load_classifier
from distillation.prepare import prepare
from distillation.recipe import Recipe
from distillation.recipe_files import list_recipes, load_recipe
from distillation.trainer import ObjectiveTrainer
from distillation.training import train

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = ["data.n=120", "model.n_heads=2", "model.d_model=16", "optimization.batch_size=8"]
TEXT = [*TINY, "model.n_layers=1"]
NETWORKS = {
    "bert": ("teacher-plain", TEXT),
    "t5-words": ("t5-teacher-plain", TEXT),
    "t5-classifier": ("t5-teacher-plain", [*TEXT, "model.head=classifier"]),
    "vit": ("vit-teacher-plain", [*TINY, "model.n_layers=1"]),
    "resnet": (
        "resnet-teacher-plain",
        ["data.n=120", "model.widths=[4, 4, 4]", "model.depths=[1, 1, 1]", "model.stem_width=4"],
    ),
}
STEPS = ["optimization.steps=4"]


def network_of(family: str, steps: int = 4) -> Recipe:
    name, settings = NETWORKS[family]
    return load_recipe(RECIPES / f"{name}.yaml", [*settings, f"optimization.steps={steps}"])


@pytest.fixture(params=NETWORKS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def test_logits_are_the_last_layer_of_the_features(family: str) -> None:
    materials = prepare(network_of(family), 0, {}).materials
    layer = last_layer(materials.classifier)
    logits, features = predict_features(materials.classifier, materials.inputs)
    assert features.shape == (120, layer.width)
    torch.testing.assert_close(layer.linear(features)[:, list(layer.rows)], logits)
    torch.testing.assert_close(logits, materials.classifier.predict(materials.inputs))


def test_a_replaced_last_layer_answers_from_the_same_features(family: str) -> None:
    materials = prepare(network_of(family), 0, {}).materials
    layer = last_layer(materials.classifier)
    n_classes = len(layer.rows)
    weight, bias = torch.randn(n_classes, layer.width), torch.randn(n_classes)
    _, features = predict_features(materials.classifier, materials.inputs)
    layer.replace(weight, bias)
    expected = features @ weight.T + (bias if layer.has_bias else 0)
    torch.testing.assert_close(materials.classifier.predict(materials.inputs), expected)


def test_a_mixture_of_an_item_with_itself_or_with_nothing_is_the_item(family: str) -> None:
    materials = prepare(network_of(family), 0, {}).materials
    classifier, inputs = materials.classifier, materials.inputs
    classifier.model.eval()
    items, partners = torch.arange(8), torch.arange(8, 16)
    alone = classifier.predict(inputs)[:8]
    mix = [
        mixed_logits(classifier, classifier.model, inputs, items, others, share).detach()
        for others, share in ((items, 0.3), (partners, 1.0), (partners, 0.6))
    ]
    torch.testing.assert_close(mix[0], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mix[1], alone, atol=1e-5, rtol=1e-5)
    assert (mix[2] - alone).abs().max() > 1e-4


def test_a_new_last_layer_is_fitted_and_saved(family: str, tmp_path: Path) -> None:
    plain = network_of(family)
    out = train(plain, 0, tmp_path / plain.name / "seed-0")
    held_out = "n_held_out: 400, n_subsamples: 2, strengths: [1.0]"
    if family in ("vit", "resnet"):
        held_out = "held_out: train, n_subsamples: 2, strengths: [1.0]"
    name, settings = NETWORKS[family]
    settings = [*settings, "data.options={rho: 0.5}", "optimization.steps=1"]
    if family in ("vit", "resnet"):
        settings = [*settings, "data.n=600"]
    recipe = load_recipe(
        RECIPES / f"{name}.yaml",
        [*settings, f"objective={{name: dfr, {held_out}}}", f"start={{recipe: {plain.name}}}"],
    )
    folder = train(recipe, 0, tmp_path / "dfr" / "seed-0", parents={plain.name: out})
    before, after = (load_file(each / "model.safetensors") for each in (out, folder))
    changed = [key for key in before if not before[key].equal(after[key])]
    assert 1 <= len(changed) <= 2, changed
    assert load_classifier(folder).classes == plain.model.classes


@pytest.mark.parametrize("family", ["bert", "t5-words", "t5-classifier"])
def test_a_second_network_is_saved_and_read_in_an_interrupted_training(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, settings = NETWORKS[family]
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*settings, *STEPS, "objective={name: lff}"])
    whole = train(recipe, 0, tmp_path / "whole", save_steps=2)
    original = ObjectiveTrainer.training_step

    def stop(self: ObjectiveTrainer, *args: object, **kwargs: object) -> object:
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ObjectiveTrainer, "training_step", stop)
        train(recipe, 0, tmp_path / "halved", save_steps=2)
    halved = train(recipe, 0, tmp_path / "halved", save_steps=2)
    one, other = (load_file(each / "model.safetensors") for each in (whole, halved))
    assert all(one[key].equal(other[key]) for key in one)


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        (
            "teacher-reweighting",
            "bias_model=null",
            "bias_model is missing: objective 'reweighting'",
        ),
        ("teacher-confidence", "teacher=null", "teacher is missing: objective 'confidence-reg"),
        ("teacher-dfr", "start=null", "start is missing: objective 'dfr' needs it"),
        ("teacher-pgd", "start=null", "start is missing: objective 'pgd' needs it"),
        ("teacher-dfr", "optimization.steps=20", "objective 'dfr' takes no steps. Set it to 1"),
        ("teacher-jtt", "bias_model=null", "bias_model is missing: objective 'jtt'"),
        ("teacher-group-dro", "bias_model=overlap-counts", "'group-dro' has no use for it"),
        ("teacher-jtt", "objective.upweight=0", "objective.upweight must be at least 1"),
    ],
)
def test_what_a_method_needs_is_asked_for_in_one_line(
    recipe: str, setting: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(RECIPES / f"{recipe}.yaml", [setting])
    assert "\n" not in str(caught.value)


def test_groups_are_asked_for_where_the_task_does_not_know_them(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        f'{{"sentence1": "a cat", "sentence2": "cat {i}", "gold_label": "{label}"}}\n'
        for i in range(4)
        for label in ("entailment", "neutral", "contradiction")
    ]
    path.write_text("".join(rows))
    recipe = load_recipe(
        RECIPES / "teacher-group-dro.yaml",
        [
            *TEXT,
            f"data={{task: mnli, options: {{path: {path}, rho: null}}}}",
            "model.classes=[entailment, neutral, contradiction]",
        ],
    )
    options = {"path": str(path)}
    recipe = replace(recipe, data=replace(recipe.data, options=options, n=None))
    with pytest.raises(CircuitsError, match=r"'group-dro' needs the group of each training item"):
        prepare(recipe, 0, {})


def test_items_of_unknown_groups_are_not_balanced_with_the_others(tmp_path: Path) -> None:
    path = tmp_path / "added.tsv"
    path.write_text("premise\thypothesis\tlabel\nthe doctor\tthe doctor\tentailment\n")
    added = [*TEXT, f"data.augment={{path: {path}, share: 0.005}}"]
    with pytest.raises(RecipeError, match="leave these out"):
        prepare(load_recipe(RECIPES / "teacher-balanced-sampling.yaml", added), 0, {})
    twins = [*TEXT, "data.counterfactuals=0.5"]
    recipe = load_recipe(RECIPES / "teacher-balanced-sampling.yaml", twins)
    signals = prepare(recipe, 0, {}).materials.signals
    assert signals.groups is not None and len(signals.groups) == 180


def test_every_method_has_a_teacher_and_the_first_six_a_student_of_each_kind() -> None:
    recipes = list_recipes(RECIPES)
    methods = {name.removeprefix("teacher-") for name in recipes if name.startswith("teacher-")}
    assert len(methods) >= 16
    for method in ("reweighting", "poe", "confidence", "group-dro", "dfr"):
        student, debiased = recipes[f"student-{method}"], recipes[f"student-debiased-{method}"]
        assert student.teacher == f"teacher-{method}"
        assert type(debiased.objective) is type(recipes[f"teacher-{method}"].objective)
        assert student.model == debiased.model == recipes["student"].model
