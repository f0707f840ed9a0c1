# PYTHON_ARGCOMPLETE_OK
"""What trained models do, over all seeds of their recipes.

    python -m distillation.evidence runs --out docs/evidence

1. Every finished folder `RUNS/<recipe>/seed-<K>` answers the same test quads and, for accuracy
   in the domain, the same test examples.
2. `runs.csv` keeps each run, `intervals.csv` the t interval of each recipe's mean over seeds and
   the prediction interval for one further seed; `evidence.md` shows both, and the differences
   between recipes seed by seed.
3. `evidence.html`, `evidence.tex` and CSV files hold the claims C1 and C2 with intervals over seeds
   and over examples, retention, each type of bias, agreement, and every run that a grid asked for
   with what became of it.
4. The seed to bundle is that of the median erosion of the spurious share, not the prettiest; of
   several families of recipes (`vit-teacher`, `resnet-teacher`), each has its own.

`--check FOLDER` measures one further model and says whether it lies within the prediction
intervals that were published.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from behavior.command_line import OneLineParser
from behavior.errors import ResultError
from behavior.examples import Task
from behavior.tasks import load_task, open_examples
from distillation.commands import RUNS, run_command
from distillation.evidence.gathering import (
    finished_folders,
    keep_retention,
    measure_folders,
    outside,
    run_summary,
)
from distillation.evidence.measured import N_QUADS, QUADS_SEED, HeldOutData, measure_run
from distillation.evidence.page import render_markdown
from distillation.evidence.roles import families, in_reading_order, median_seed
from distillation.evidence.sheets import make_sheets, render_sheets_markdown, write_sheets
from distillation.evidence.states import MEASURED, run_states
from distillation.evidence.tables import intervals, read_intervals, write_intervals, write_runs

_EPILOG = """\
  python -m distillation.evidence runs --out runs/evidence
  python -m distillation.evidence runs --task digits --recipes vit-teacher,vit-student
  python -m distillation.evidence --check runs/student/seed-25
  python -m distillation.evidence runs --task hans-quads --examples hans.txt --labelled snli.tsv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _check(options) if options.check else _gather(options))


def _gather(options: argparse.Namespace) -> int:
    names = None if options.recipes is None else options.recipes.split(",")
    folder = _runs_folder(options)
    data = _data(options)
    measured, unmeasured = measure_folders(finished_folders(folder, names), data, _write_line)
    keys = [(one.run.recipe, one.run.seed) for one in measured]
    states = run_states(folder, keys, unmeasured, names)
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


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.evidence",
        description="Measure finished runs on the same test quads and write tables over seeds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="RUNS", help="folder of the runs (default runs)"
    )
    parser.add_argument("--runs", type=Path, help="the same")
    parser.add_argument("--recipes", help="names, separated by commas (default all there are)")
    parser.add_argument("--task", default="nli-overlap", help="source of the test quads")
    parser.add_argument("--examples", type=Path, metavar="FILE", help="file that the task reads")
    parser.add_argument(
        "--labelled",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="labelled examples to ask as well, by group; may be repeated",
    )
    parser.add_argument(
        "--two-way", action="store_true", help="neutral and contradiction are non-entailment"
    )
    parser.add_argument("--quads", type=int, default=N_QUADS, help=f"number (default {N_QUADS})")
    parser.add_argument("--seed", type=int, default=QUADS_SEED, help="of the test quads")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="folder of tables")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare one further model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
