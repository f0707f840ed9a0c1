"""From a recipe and a seed to a finished model folder.

    python -m distillation.train recipes/student.yaml --seed 0 --out runs/student/seed-0

1. Draw the training split and encode it; add counterfactual twins if the recipe asks for them.
2. Make the network: fresh weights, or those of the model it starts from.
3. Collect what the objective reads besides labels: logits of the teacher, the bias model.
4. Draw the order of the items for the whole training, then let the trainer run.
5. Measure the cells of the validation quads; write the folder and move it to its place.

The seed decides three things, each drawn apart from the others: the training items, the initial
weights (the same for all recipes of one shape), and the order of the items (the same for all
recipes that visit as many of the same items without weights).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from behavior.errors import RecipeError
from distillation.commands import RECIPES, RUNS, run_command
from distillation.folders import (
    CHECKPOINTS,
    FINISHED,
    find_parents,
    finish,
    is_finished,
    last_checkpoint,
    open_partial,
    run_folder,
    weights_digest,
)
from distillation.prepare import Prepared, prepare
from distillation.recipe import Recipe
from distillation.recipe_files import list_recipes, load_recipe
from distillation.record import write_finished_folder
from distillation.trainer import ObjectiveTrainer, Progress, training_arguments

SAVE_STEPS = 250


def train(
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    parents: Mapping[str, Path] | None = None,
    save_steps: int = SAVE_STEPS,
    progress: Progress | None = None,
) -> Path:
    """Train one recipe with one seed and return its finished folder.

    An interrupted training goes on from its last checkpoint and ends with the same weights, bit
    for bit on one thread, as one that was never interrupted. A finished one is left alone.

    Args:
        recipe: What to train.
        seed: Decides items, initial weights and order.
        out: Folder to make; `OUT.partial` holds the checkpoints until then.
        parents: Folder of each recipe in `recipe.parents`; if out is `RUNS/<recipe>/seed-<K>`,
            those left out are looked for there.
        save_steps: Updates between checkpoints.
        progress: Called whenever the loss is logged.

    Raises:
        CircuitsError: If parents are missing, data or weights do not fit, or the folder is taken.
    """
    if not 0 <= seed < 2**32:
        raise RecipeError(f"seed is {seed}, but a seed is from 0 to {2**32 - 1}.")
    if save_steps < 1:
        raise RecipeError(f"save_steps is {save_steps}, but must be at least 1.")
    folders = find_parents(recipe, seed, out, parents or {})
    request = training_request(recipe, seed, folders)
    if is_finished(out, request):
        return out
    partial = open_partial(out, request)
    prepared = prepare(recipe, seed, folders)
    trainer = _trainer(prepared, recipe, partial / CHECKPOINTS, seed, save_steps, progress)
    trainer.train(resume_from_checkpoint=last_checkpoint(partial / CHECKPOINTS))
    history = trainer.state.log_history
    write_finished_folder(partial / FINISHED, recipe, seed, request, prepared, history)
    finish(partial, out)
    return out


def training_request(recipe: Recipe, seed: int, folders: Mapping[str, Path]) -> dict[str, object]:
    """What must be the same for an interrupted training to go on."""
    return {
        "recipe": recipe.to_json(),
        "seed": seed,
        "parents": {name: weights_digest(folder) for name, folder in folders.items()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.list:
        return _list(options.recipe or RECIPES)
    if options.recipe is None:
        raise RecipeError("No recipe was given. Give a file, such as recipes/student.yaml.")
    recipe = load_recipe(options.recipe, options.set)
    if options.max_steps is not None:
        recipe = recipe.with_steps(min(options.max_steps, recipe.optimization.steps))
    out = options.out or run_folder(RUNS, recipe.name, options.seed)
    if options.dry_run:
        sys.stdout.write(yaml.safe_dump({**recipe.to_json(), "out": str(out)}, sort_keys=False))
        return 0
    train(
        recipe,
        options.seed,
        out,
        parents=_given_parents(recipe, options),
        save_steps=options.save_steps,
        progress=_write_progress,
    )
    sys.stdout.write(f"{recipe.name}, seed {options.seed}: {out}\n")
    return 0


def _list(folder: Path) -> int:
    recipes = list_recipes(folder if folder.is_dir() else folder.parent)
    width = max(map(len, recipes))
    for name, recipe in recipes.items():
        sys.stdout.write(f"{name:{width}}  {recipe.description}\n")
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
        given[name] = folder
    return given


def _trainer(
    prepared: Prepared,
    recipe: Recipe,
    checkpoints: Path,
    seed: int,
    save_steps: int,
    progress: Progress | None,
) -> ObjectiveTrainer:
    return ObjectiveTrainer(
        prepared.materials,
        recipe.objective.criterion(prepared.materials),
        prepared.order,
        training_arguments(recipe.optimization, checkpoints, seed, save_steps),
        progress,
    )


def _write_progress(step: int, n_steps: int, loss: float, seconds: float) -> None:
    sys.stdout.write(f"step {step:5} of {n_steps}   loss {loss:.3f}   {seconds:.0f} s\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m distillation.train",
        description="Train one recipe with one seed. Run again after an interruption, it goes on.",
    )
    parser.add_argument("recipe", type=Path, nargs="?", help="recipe file, as recipes/student.yaml")
    parser.add_argument("--seed", type=int, default=0, help="items, weights and order (default 0)")
    parser.add_argument("--out", type=Path, help="folder to make (default runs/RECIPE/seed-SEED)")
    parser.add_argument("--teacher", type=Path, help="folder of the teacher, if not beside --out")
    parser.add_argument("--start", type=Path, help="folder of the model to start from")
    parser.add_argument("--max-steps", type=int, help="train shorter; the schedule is fitted to it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as optimization.steps=100"
    )
    parser.add_argument("--save-steps", type=int, default=SAVE_STEPS, help="between checkpoints")
    parser.add_argument("--list", action="store_true", help="list the recipes and leave")
    parser.add_argument("--dry-run", action="store_true", help="print the whole recipe and leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
