"""Every recipe of the folder trains, and what it leaves is opened by transformers alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from distillation.folders import run_folder
from distillation.grid import in_order
from distillation.objectives.dfr import DFR
from distillation.recipe import Recipe
from distillation.recipe_files import list_recipes
from distillation.training import train

RECIPES = Path(__file__).parents[1] / "recipes"
IN_ORDER = [recipe.name for recipe in in_order(list_recipes(RECIPES))]
"""Parents first, so that each is trained in its own test and not in that of its first child."""

Make = Callable[[str], Path]


def shorten(recipe: Recipe) -> Recipe:
    """The same recipe with few items and 3 steps, or as many as it has."""
    optimization = replace(recipe.optimization, batch_size=8)
    objective, data = recipe.objective, replace(recipe.data, n=200)
    if isinstance(objective, DFR):
        objective = replace(objective, n_held_out=1000, n_subsamples=2, strengths=(0.1,))
        # So that few held-out items have all groups.
        data = replace(data, options={**data.options, "rho": 0.8})
    short = replace(recipe, data=data, optimization=optimization, objective=objective)
    return short.with_steps(min(3, recipe.optimization.steps))


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Trains a recipe with all that it needs, each once."""
    recipes = list_recipes(RECIPES)
    runs = tmp_path_factory.mktemp("runs")

    def trained(name: str) -> Path:
        out = run_folder(runs, name, 0)
        if not out.exists():
            for parent in recipes[name].parents:
                trained(parent)
            train(shorten(recipes[name]), 0, out)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distillation.validation.N_VALIDATION", 40)
        yield trained


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_recipe_trains_and_leaves_a_folder_that_transformers_opens(name: str, make: Make) -> None:
    folder = make(name)
    config = AutoConfig.from_pretrained(folder)
    network = getattr(transformers, config.architectures[0])
    _, said = network.from_pretrained(folder, output_loading_info=True)
    assert not said["missing_keys"] and not said["unexpected_keys"]
    reads_images = (folder / "preprocessor_config.json").is_file()
    (AutoImageProcessor if reads_images else AutoTokenizer).from_pretrained(folder)
