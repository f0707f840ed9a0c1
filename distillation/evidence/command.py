"""What `python -m distillation.evidence` does, once its options are read."""

import argparse
import sys
from pathlib import Path
from typing import Any

from behavior.errors import ResultError
from behavior.examples import Task
from behavior.tasks import load_task, open_examples
from distillation.commands import RUNS
from distillation.evidence.choice import Choice
from distillation.evidence.gathering import (
    finished_folders,
    keep_retention,
    measure_folders,
    outside,
    run_summary,
)
from distillation.evidence.measured import HeldOutData, measure_run
from distillation.evidence.page import render_markdown
from distillation.evidence.roles import families, in_reading_order, median_seed
from distillation.evidence.sheets import make_sheets, render_sheets_markdown, write_sheets
from distillation.evidence.states import MEASURED, run_states
from distillation.evidence.tables import intervals, read_intervals, write_intervals, write_runs
from distillation.grid.files import load_grid
from distillation.grid.plan import parse_seeds


def run(options: argparse.Namespace) -> int:
    """Gather the runs of a folder, or check one further model; returns the exit code.

    Raises:
        ResultError: If there are no runs, or options contradict each other.
    """
    return _check(options) if options.check else _gather(options)


def _gather(options: argparse.Namespace) -> int:
    folder, choice = _runs_folder(options), _choice(options)
    data = _data(options)
    measured, unmeasured = measure_folders(finished_folders(folder, choice), data, _write_line)
    keys = [(one.run.recipe, one.run.seed) for one in measured]
    states = run_states(folder, keys, unmeasured, choice)
    runs = keep_retention(measured)
    order = in_reading_order({run.recipe for run in runs})
    found = intervals(sorted(runs, key=lambda run: order.index(run.recipe)))
    options.out.mkdir(parents=True, exist_ok=True)
    write_runs(options.out / "runs.csv", runs)
    write_intervals(options.out / "intervals.csv", found)
    sheets = make_sheets(measured, runs, states, data.labelled)
    write_sheets(options.out, sheets, measured)
    text = render_markdown(runs, found) + render_sheets_markdown(sheets)
    (options.out / "evidence.md").write_text(text, encoding="utf-8")
    n_missing = sum(state.state != MEASURED for state in states)
    _write_line(f"tables: {options.out}   {len(runs)} runs measured, {n_missing} missing")
    for family in families(order):
        seed = median_seed(runs, family)
        if seed is not None:
            name = f", {family.removesuffix('-')}" if family else ""
            _write_line(f"seed of the median erosion of the spurious share{name}: {seed}")
    return 0


def _choice(options: argparse.Namespace) -> Choice:
    recipes = None if options.recipes is None else options.recipes.split(",")
    seeds = None if options.seeds is None else parse_seeds(options.seeds)
    plan = None if options.grid is None else load_grid(options.grid, seeds=seeds)
    return Choice(recipes, seeds, None if plan is None else [run.key for run in plan])


def _runs_folder(options: argparse.Namespace) -> Path:
    if options.folder is not None and options.runs is not None:
        raise ResultError("RUNS and --runs both name the folder of the runs. Give one of them.")
    return options.folder or options.runs or RUNS


def _data(options: argparse.Namespace) -> HeldOutData:
    source = {} if options.examples is None else {"path": options.examples}
    paths: list[Path] = options.labelled
    names = [path.name for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ResultError(f"--labelled names two files {twice!r}. Give them different names.")
    labelled = {path.name: _open_labelled(path, options.two_way) for path in paths}
    return HeldOutData.draw(
        load_task(options.task, **source), options.quads, options.seed, labelled
    )


def _open_labelled(path: Path, two_way: bool) -> Task[Any]:
    task = open_examples(path)
    if two_way and len(task.labels) > 2:
        return load_task(task.name, path=path, two_way=True)
    return task


def _check(options: argparse.Namespace) -> int:
    published = read_intervals(options.out / "intervals.csv")
    data = _data(options)
    run = measure_run(options.check, data)
    _write_line(run_summary(run))
    names = outside(run, published)
    _write_line(f"outside the published intervals: {', '.join(names) or 'nothing'}")
    return 1 if names else 0


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
