"""What `python -m distillation.grid` does, once its options are read."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.errors import RecipeError
from distillation.folders import run_folder
from distillation.grid.cluster import RayWorkers
from distillation.grid.files import load_grid
from distillation.grid.jobs import Workers
from distillation.grid.local import InProcess, LocalWorkers
from distillation.grid.plan import GridRun, in_order, parse_seeds, plan_runs
from distillation.grid.schedule import Schedule, States, Watcher
from distillation.grid.states import states_file
from distillation.grid.table import Lines, Table, count_states, describe_end
from distillation.options import RunOptions, read_run_options
from distillation.recipe_files import list_recipes, load_recipe


def run(options: argparse.Namespace) -> int:
    """Train a grid, or list its runs; returns the exit code.

    Raises:
        RecipeError: If an option, a recipe or the grid cannot be used, or a model is missing.
    """
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
        for chosen in in_order(recipes, names) if options.set else []:
            recipes[chosen.name] = load_recipe(options.grid / f"{chosen.name}.yaml", options.set)
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
