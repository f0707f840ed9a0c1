# PYTHON_ARGCOMPLETE_OK
"""Trains a grid of recipes and seeds; the command line.

    python -m distillation.grid recipes/grids/nli-methods.yaml --workers 2
    python -m distillation.grid recipes --recipes student,student-plain --seeds 20-24 --runs runs
    python -m distillation.grid recipes/grids/digits.yaml --ray auto

Every run comes after those whose models it needs, and these are added where they were not named.
Finished runs are skipped, an interrupted one goes on, so the same command again does what is left.
A run that fails stops no other; the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import OneLineParser
from behavior.errors import RecipeError
from distillation.commands import RECIPES, RUNS, run_command
from distillation.folders import run_folder
from distillation.grid.cluster import RayWorkers
from distillation.grid.files import load_grid
from distillation.grid.jobs import Workers
from distillation.grid.local import InProcess, LocalWorkers
from distillation.grid.plan import GridRun, in_order, parse_seeds, plan_runs
from distillation.grid.schedule import Schedule, States, Watcher
from distillation.grid.states import states_file
from distillation.grid.table import Lines, Table, count_states, describe_end
from distillation.options import RunOptions, add_run_options, read_run_options
from distillation.recipe_files import list_recipes, load_recipe
from distillation.train import SAVE_STEPS

_EPILOG = """\
  python -m distillation.grid recipes/grids/nli-methods.yaml --workers 2
  python -m distillation.grid recipes --recipes student,student-plain --seeds 20-24 --runs runs
  python -m distillation.grid recipes/grids/digits.yaml --ray auto
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.workers < 1:
        raise RecipeError(f"workers is {options.workers}, but must be at least 1.")
    run_options = read_run_options(options)
    plan = _plan(options)
    if options.dry_run:
        return _list(plan, options.runs)
    workers = _workers(options, run_options)
    schedule = Schedule(
        plan,
        options.runs,
        workers,
        options=run_options,
        save_steps=options.save_steps,
        states_path=states_file(options.runs, options.grid.stem),
        watcher=_watcher(plan, options.runs),
    )
    try:
        states = schedule.run()
    finally:
        workers.close()
    return _summarise(states)


def _plan(options: argparse.Namespace) -> list[GridRun]:
    names = None if options.recipes is None else options.recipes.split(",")
    seeds = None if options.seeds is None else parse_seeds(options.seeds)
    if options.grid.is_dir():
        recipes = list_recipes(options.grid)
        if options.set:
            recipes = {
                name: load_recipe(options.grid / f"{name}.yaml", options.set) for name in recipes
            }
        return plan_runs(in_order(recipes, names), seeds or [0])
    plan = load_grid(options.grid, options.set, seeds)
    return plan if names is None else _only(plan, names)


def _only(plan: Sequence[GridRun], names: Sequence[str]) -> list[GridRun]:
    """The runs of some recipes of a grid and those they need."""
    recipes = {run.recipe.name: run.recipe for run in plan}
    kept = {recipe.name for recipe in in_order(recipes, names)}
    return [run for run in plan if run.recipe.name in kept]


def _list(plan: Sequence[GridRun], runs: Path) -> int:
    for run in plan:
        stands = "  (stands)" if run_folder(runs, *run.key).exists() else ""
        needs = ", ".join(run.recipe.parents)
        sys.stdout.write(f"{run}{f', after {needs}' if needs else ''}{stands}\n")
    sys.stdout.write(f"{len(plan)} runs\n")
    return 0


def _workers(options: argparse.Namespace, run_options: RunOptions) -> Workers:
    if options.ray is not None:
        return RayWorkers(options.ray, options.workers, gpu=run_options.device == "cuda")
    return InProcess() if options.workers == 1 else LocalWorkers(options.workers)


def _watcher(plan: Sequence[GridRun], runs: Path) -> Watcher:
    return Table(sys.stdout, plan, runs) if sys.stdout.isatty() else Lines(_write_line)


def _summarise(states: States) -> int:
    missing = [state for state in states.values() if not state.is_whole]
    sys.stdout.write(f"{count_states(states.values())}\n")
    for state in missing:
        sys.stdout.write(f"  {state.recipe}, seed {state.seed}: {describe_end(state)}\n")
    return 1 if missing else 0


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.grid",
        description="Train a grid of recipes and seeds, each run after those whose models it "
        "needs. Finished runs are skipped, an interrupted one goes on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "grid", type=Path, nargs="?", default=RECIPES, help="grid file, or folder of recipes"
    )
    parser.add_argument("--recipes", help="names, separated by commas (default all)")
    parser.add_argument("--seeds", help="as 20-24 or 1,2,3 (default those of the file, or 0)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default runs)")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time (default 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="train on a Ray cluster; local starts one here"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="laid over all recipes"
    )
    parser.add_argument("--save-steps", type=int, default=SAVE_STEPS, help="between checkpoints")
    add_run_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="list the runs and leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
