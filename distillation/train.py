# PYTHON_ARGCOMPLETE_OK
"""From a recipe and a seed to a finished model folder.

    python -m distillation.train recipes/student.yaml --seed 0 --out runs/student/seed-0
    torchrun --nproc-per-node 2 -m distillation.train recipes/student.yaml --device cuda

1. Draw the training split and encode it; add counterfactual twins if the recipe asks for them.
2. Make the network: fresh weights, or those of the model it starts from.
3. Collect what the objective reads besides labels: logits of the teacher, the bias model.
4. Draw the order of the items for the whole training, then let the trainer run; take the
   checkpoint that the recipe's rule of selection names.
5. Measure the cells of the validation quads; write the folder and move it to its place.

The seed decides three things, each drawn apart from the others: the training items, the initial
weights (the same for all recipes of one shape), and the order of the items (the same for all
recipes that visit as many of the same items without weights).
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import yaml
from accelerate import PartialState
from transformers import TrainingArguments

from behavior.command_line import OneLineParser
from behavior.errors import RecipeError
from distillation.commands import RECIPES, RUNS, run_command
from distillation.folders import (
    CHECKPOINTS,
    FINISHED,
    find_parents,
    finish,
    is_finished,
    last_checkpoint,
    logits_folder,
    open_partial,
    run_folder,
    weights_digest,
)
from distillation.objectives import ClosedForm, SteppedObjective
from distillation.options import (
    FULL,
    RunOptions,
    add_run_options,
    is_first_process,
    n_processes,
    read_run_options,
)
from distillation.prepare import Prepared, prepare
from distillation.progress import follow
from distillation.recipe import Recipe
from distillation.recipe_files import list_recipes, load_recipe
from distillation.record import write_finished_folder
from distillation.trainer import ObjectiveTrainer, Progress, training_arguments

SAVE_STEPS = 250

_EPILOG = """\
  python -m distillation.train --list
  python -m distillation.train recipes/teacher.yaml --seed 30
  python -m distillation.train recipes/student.yaml --seed 30 --set optimization.steps=100
"""


def train(
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    parents: Mapping[str, Path] | None = None,
    save_steps: int = SAVE_STEPS,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train one recipe with one seed and return its finished folder.

    An interrupted training goes on from its last checkpoint and ends with the same weights, bit
    for bit on one thread of a CPU, as one that was never interrupted. A finished one is left alone.
    Started by torchrun or `accelerate launch`, all processes train it together.

    Args:
        recipe: What to train.
        seed: Decides items, initial weights and order.
        out: Folder to make; `OUT.partial` holds the checkpoints until then.
        parents: Folder of each recipe in `recipe.parents`; if out is `RUNS/<recipe>/seed-<K>`,
            those left out are looked for there.
        save_steps: Updates between checkpoints; a rule of selection has its own.
        options: How it is run.
        progress: Called whenever the loss is logged.

    Raises:
        CircuitsError: If parents are missing, data or weights do not fit, or the folder is taken.
    """
    if not 0 <= seed < 2**32:
        raise RecipeError(f"seed is {seed}, but a seed is from 0 to {2**32 - 1}.")
    if save_steps < 1:
        raise RecipeError(f"save_steps is {save_steps}, but must be at least 1.")
    options = options or RunOptions()
    options.part_of_batch(recipe.optimization.batch_size)
    folders = find_parents(recipe, seed, out, parents or {})
    request = training_request(recipe, seed, folders)
    if is_finished(out, request):
        return out
    partial = _open(out, request, options)
    prepared = prepare(recipe, seed, folders, logits_folder(out, recipe.name, seed))
    if isinstance(recipe.objective, ClosedForm):
        history = _fit(recipe.objective, prepared)
    else:
        checkpoints = partial / CHECKPOINTS
        arguments = training_arguments(recipe, checkpoints, seed, save_steps, options)
        history = _minimise(prepared, recipe, arguments, progress)
    if is_first_process():
        write_finished_folder(partial / FINISHED, recipe, seed, request, prepared, history, options)
        finish(partial, out)
    _wait_for_all(options)
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
        if not isinstance(name, str):
            raise RecipeError(
                f"--{option} was given, but recipe {recipe.name!r} has {len(name)}. Put their runs "
                "beside --out instead."
            )
        given[name] = folder
    return given


def _fit(objective: ClosedForm, prepared: Prepared) -> list[dict[str, float]]:
    started = time.perf_counter()
    objective.fit(prepared.materials)
    return [{"seconds": time.perf_counter() - started}]


def _minimise(
    prepared: Prepared, recipe: Recipe, arguments: TrainingArguments, progress: Progress | None
) -> list[dict[str, float]]:
    assert isinstance(recipe.objective, SteppedObjective), "the other kind has no steps"
    trainer = ObjectiveTrainer(
        prepared.materials,
        recipe.objective.criterion(prepared.materials),
        prepared.order,
        arguments,
        progress,
        recipe.selection,
    )
    checkpoints = Path(cast(str, arguments.output_dir))
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    # Half precision casts the model's forward pass; what is measured and saved afterwards is not.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return trainer.state.log_history


def _open(out: Path, request: Mapping[str, object], options: RunOptions) -> Path:
    """The working folder, made by the first process before the others look into it.

    Weights of another precision differ, so an interrupted training goes on in its own.
    """
    precision = {} if options.precision == FULL else {"precision": options.precision}
    if not is_first_process():
        _wait_for_all(options)
    partial = open_partial(out, {**request, **precision})
    if is_first_process():
        _wait_for_all(options)
    return partial


def _wait_for_all(options: RunOptions) -> None:
    if n_processes() > 1:
        state = PartialState(cpu=True, backend="gloo") if options.on_cpu else PartialState()
        state.wait_for_everyone()


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.train",
        description="Train one recipe with one seed. Run again after an interruption, it goes on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    add_run_options(parser)
    parser.add_argument("--list", action="store_true", help="list the recipes and leave")
    parser.add_argument("--dry-run", action="store_true", help="print the whole recipe and leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
