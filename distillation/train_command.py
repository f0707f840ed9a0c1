"""What `python -m distillation.train` does, once its options are read."""

import argparse
import sys
from pathlib import Path

import yaml

from behavior.errors import RecipeError
from distillation.commands import RUNS
from distillation.folders import run_folder
from distillation.options import is_first_process, read_run_options
from distillation.progress import follow
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe
from distillation.training import train


def run(options: argparse.Namespace) -> int:
    """Train a recipe or show one; returns the exit code.

    Raises:
        RecipeError: If an option or the recipe cannot be used, or a model is missing.
    """
    if options.recipe is None:
        raise RecipeError("No recipe was given. Give a file, such as recipes/student.yaml.")
    recipe = load_recipe(options.recipe, options.set)
    if options.max_steps is not None:
        recipe = recipe.with_steps(min(options.max_steps, recipe.optimization.steps))
    out = options.out or run_folder(RUNS, recipe.name, options.seed)
    if options.dry_run:
        sys.stdout.write(yaml.safe_dump({**recipe.to_json(), "out": str(out)}, sort_keys=False))
        return 0
    with follow(f"{recipe.name}, seed {options.seed}") as progress:
        train(
            recipe,
            options.seed,
            out,
            parents=_given_parents(recipe, options),
            save_steps=options.save_steps,
            options=read_run_options(options),
            progress=progress,
        )
    if is_first_process():
        sys.stdout.write(f"{recipe.name}, seed {options.seed}: {out}\n")
    return 0


def _given_parents(recipe: Recipe, options: argparse.Namespace) -> dict[str, Path]:
    given: dict[str, Path] = {}
    for option, name in (
        ("teacher", recipe.teacher),
        ("start", None if recipe.start is None else recipe.start.recipe),
    ):
        folder: Path | None = getattr(options, option)
        if folder is None:
            continue
        if name is None:
            raise RecipeError(f"--{option} was given, but recipe {recipe.name!r} has no {option}.")
        if not isinstance(name, str):
            raise RecipeError(
                f"--{option} was given, but recipe {recipe.name!r} has {len(name)}. Put their runs "
                "beside --out instead."
            )
        given[name] = folder
    return given
