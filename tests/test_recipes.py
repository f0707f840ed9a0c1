"""Recipes: the bundled ones, and one line for whatever is wrong with another."""

from pathlib import Path

import pytest
import yaml

from behavior.errors import RecipeError
from distillation.grid import in_order, parse_seeds
from distillation.objectives.logit_distillation import LogitDistillation
from distillation.objectives.plain import Plain
from distillation.recipe_files import list_recipes, load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"

BASE = """
description: A recipe for tests.
data: {task: nli-overlap, options: {rho: 0.99}, n: 100}
model: {classes: [non-entailment, entailment], n_layers: 2, d_model: 16, n_heads: 2}
objective: {name: logit-distillation, alpha: 0.5, temperature: 2}
teacher: teacher
optimization: {steps: 10, learning_rate: 2e-3}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    return path


def write(folder: Path, text: str) -> Path:
    path = folder / "broken.yaml"
    path.write_text(text)
    return path


def test_every_bundled_recipe_is_readable_and_has_its_parents() -> None:
    recipes = list_recipes(RECIPES)
    roles = {"teacher", "teacher-plain", "student", "student-plain", "student-debiased"}
    assert roles <= set(recipes)
    assert {parent for recipe in recipes.values() for parent in recipe.parents} <= set(recipes)


@pytest.mark.parametrize(
    ("control", "original", "differs"),
    [
        ("student-alpha1", "student", {"objective"}),
        ("student-t4", "student", {"objective"}),
        ("student-long", "student", {"optimization"}),
        ("student-large", "student", {"model"}),
        ("student-plain", "student", {"objective", "teacher"}),
        ("student-augmented", "student", {"data"}),
        ("plain-augmented", "student-plain", {"data"}),
        ("student-teacher-init", "student-wide", {"start"}),
        ("student-via-assistant", "student", {"teacher"}),
        ("teacher-short", "teacher", {"optimization"}),
        ("teacher-plain", "teacher", {"objective", "bias_model"}),
    ],
)
def test_a_control_differs_in_one_thing(control: str, original: str, differs: set[str]) -> None:
    one, other = (load_recipe(RECIPES / f"{name}.yaml").to_json() for name in (control, original))
    assert {key for key in one if one[key] != other[key]} == differs | {"name", "description"}


def test_another_objective_keeps_nothing_of_the_old_one(base: Path) -> None:
    text = "description: Plain.\nextends: base\nobjective: {name: plain}\nteacher: null\n"
    recipe = load_recipe(write(base.parent, text))
    assert recipe.objective == Plain() and recipe.teacher is None and recipe.model.d_model == 16


def test_settings_are_laid_over_the_file(base: Path) -> None:
    recipe = load_recipe(base, ["optimization.steps=3", "objective.alpha=1", "data.options.rho=.9"])
    assert recipe.optimization.steps == 3 and recipe.optimization.learning_rate == 0.002
    assert recipe.objective == LogitDistillation(alpha=1.0, temperature=2.0)
    assert recipe.data.options == {"rho": 0.9}


def test_a_recipe_reads_what_its_json_says(base: Path) -> None:
    recipe = load_recipe(base)
    settings = recipe.to_json()
    assert settings.pop("name") == "base"
    settings["model"]["classes"] = list(settings["model"]["classes"])
    path = base.parent / "again" / "base.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(yaml.safe_load(yaml.safe_dump(_lists(settings)))))
    assert load_recipe(path) == recipe


def _lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour: red", r"colour is unknown\. Expected one of: description"),
        ("data: {taks: nli-overlap}", r"data\.taks is unknown\. Expected one of: task"),
        ("model: {n_layers: two}", r"model\.n_layers must be a whole number, got 'two'"),
        ("model: {n_layers: 2.5}", r"model\.n_layers must be a whole number, got 2\.5"),
        ("model: {n_layers: true}", r"model\.n_layers must be a whole number, got True"),
        ("model: {n_heads: 3}", r"model\.d_model must be a multiple of n_heads = 3, got 16"),
        ("model: {classes: entailment}", r"model\.classes must be a list, got 'entailment'"),
        ("model: {classes: [1, 2]}", r"model\.classes\[0\] must be text, got 1"),
        (
            "model: {family: gpt}",
            r"model\.family must be one of 'bert', 't5', 'vit', 'resnet'",
        ),
        ("optimization: {steps: 0}", r"optimization\.steps must be at least 1, got 0"),
        ("optimization: {betas: [0.9]}", r"optimization\.betas must be a list of 2, got \[0\.9\]"),
        ("optimization: 12", r"optimization must hold keys with values, got 12"),
        ("data: {counterfactuals: 2}", r"data\.counterfactuals must be from 0 to 1, got 2\.0"),
        ("objective: {alpha: 1.5}", r"objective\.alpha must be from 0 to 1, got 1\.5"),
        ("objective: {temperature: 0}", r"objective\.temperature must be above 0, got 0\.0"),
        ("objective: {name: magic}", r"objective\.name must be one of 'balanced-sampling'"),
        ("objective: null", r"objective is missing"),
        ("teacher: null", r"teacher is missing: objective 'logit-distillation' needs it"),
        ("bias_model: overlap-counts", r"bias_model is given, but objective 'logit-distillation'"),
        ("bias_model: astrology", r"bias_model must be one of 'overlap-counts'"),
        ("start: {recipe: teacher, layers: [0]}", r"start\.layers names 1 layers, but model"),
        ("objective: {name: resampling}\nteacher: null", r"bias_model is missing: objective 'res"),
        (
            "objective: {name: product-of-experts}\nteacher: null\nbias_model: overlap-counts",
            r"start is missing: objective 'product-of-experts' needs it",
        ),
        ("extends: nowhere", r"extends names 'nowhere', but there is no"),
        ("teacher: a\nteacher: b", r"key 'teacher' is given twice \(line \d\)"),
        ("teacher: [", r"is no YAML"),
    ],
)
def test_a_broken_recipe_is_one_line_that_names_file_and_key(
    base: Path, change: str, message: str
) -> None:
    head = "" if change.startswith("extends") else "extends: base\n"
    path = write(base.parent, f"description: Broken.\n{head}{change}\n")
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["description", "data", "model", "optimization", "objective"])
def test_a_missing_section_is_named(base: Path, key: str) -> None:
    settings = yaml.safe_load(BASE)
    del settings[key]
    with pytest.raises(RecipeError, match=f"{key} is missing"):
        load_recipe(write(base.parent, yaml.safe_dump(settings)))


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("extends: two\n")
    (tmp_path / "two.yaml").write_text("extends: one\n")
    with pytest.raises(RecipeError, match="extends comes back to itself"):
        load_recipe(tmp_path / "one.yaml")


def test_an_absent_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.yaml: cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="holds no recipe"):
        list_recipes(tmp_path)


def test_a_product_of_experts_may_start_from_a_pretrained_network() -> None:
    settings = ["objective={name: product-of-experts}", "bias_model=overlap-regression"]
    recipe = load_recipe(RECIPES / "minilm" / "teacher-plain.yaml", settings)
    assert recipe.start is None and recipe.parents == ()


@pytest.mark.parametrize("setting", ["steps", "=3", "optimization.steps=[", "optimization.tseps=3"])
def test_a_setting_that_cannot_be_used_is_refused(base: Path, setting: str) -> None:
    with pytest.raises(RecipeError, match=r"setting|tseps"):
        load_recipe(base, [setting])


def test_recipes_come_after_all_that_they_need() -> None:
    recipes = list_recipes(RECIPES)
    order = [recipe.name for recipe in in_order(recipes, ["student-via-assistant", "teacher-poe"])]
    assert set(order) == {
        "student-via-assistant",
        "assistant",
        "teacher",
        "teacher-poe",
        "teacher-plain",
    }
    for name in order:
        assert all(order.index(parent) < order.index(name) for parent in recipes[name].parents)


def test_a_circle_and_an_unknown_name_are_refused(base: Path) -> None:
    for name, teacher in (("one", "two"), ("two", "one")):
        text = f"description: {name}.\nextends: base\nteacher: {teacher}\n"
        (base.parent / f"{name}.yaml").write_text(text)
    recipes = list_recipes(base.parent)
    with pytest.raises(RecipeError, match="in a circle"):
        in_order(recipes, ["one"])
    with pytest.raises(RecipeError, match="no recipe 'tutor'"):
        in_order(recipes, ["tutor"])


def test_seeds_are_read_as_ranges_and_lists() -> None:
    assert parse_seeds("20-22,7") == [20, 21, 22, 7]
    for text in ("", "a", "1-", "3-1"):
        with pytest.raises(RecipeError, match="as seeds"):
            parse_seeds(text)
