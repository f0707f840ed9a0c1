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
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from behavior.command_line import OneLineParser
from behavior.errors import CircuitsError, ResultError
from behavior.examples import CELLS
from behavior.tasks import load_task
from distillation.commands import RUNS, run_command
from distillation.evidence_claims import trios_of
from distillation.evidence_measured import (
    N_QUADS,
    QUADS_SEED,
    HeldOutData,
    Measured,
    measure_folder,
    measure_run,
)
from distillation.evidence_page import render_markdown
from distillation.evidence_roles import families, in_reading_order, median_seed, with_retention
from distillation.evidence_sheets import make_sheets, render_sheets_markdown, write_sheets
from distillation.evidence_states import MEASURED, run_states
from distillation.evidence_tables import (
    Interval,
    Run,
    intervals,
    read_intervals,
    write_intervals,
    write_runs,
)
from distillation.evidence_trios import retention_anchors
from distillation.folders import RECORD
from distillation.grid.plan import Key

__all__ = ["HeldOutData", "finished_folders", "gather", "main", "measure_run", "outside"]

_EPILOG = """\
  python -m distillation.evidence runs --out runs/evidence
  python -m distillation.evidence runs --task digits --recipes vit-teacher,vit-student
  python -m distillation.evidence --check runs/student/seed-25
"""

Report = Callable[[str], None]


def finished_folders(runs: Path, recipes: Sequence[str] | None = None) -> list[Path]:
    """Finished trainings among the runs, those of some recipes only if they are named.

    Raises:
        ResultError: If there are none.
    """
    folders = [record.parent for record in sorted(runs.glob(f"*/seed-*/{RECORD}"))]
    chosen = [
        folder
        for folder in folders
        if folder.name.removeprefix("seed-").isdecimal()
        and (recipes is None or folder.parent.name in recipes)
    ]
    if not chosen:
        raise ResultError(f"{runs} holds no finished training. Run distillation.grid first.")
    return chosen


def gather(folders: Sequence[Path], data: HeldOutData, report: Report | None = None) -> list[Run]:
    """Measure finished folders on the same data; report is called with a line for each."""
    return keep_retention(measure_folders(folders, data, report)[0])


def measure_folders(
    folders: Sequence[Path], data: HeldOutData, report: Report | None = None
) -> tuple[list[Measured], dict[Key, str]]:
    """The runs that fit the task, and why the others do not.

    Raises:
        CircuitsError: If none does.
    """
    measured: list[Measured] = []
    unmeasured: dict[Key, str] = {}
    for folder in tqdm(folders, desc="runs", disable=not sys.stderr.isatty()):
        key = folder.parent.name, int(folder.name.removeprefix("seed-"))
        try:
            measured.append(measure_folder(folder, data))
        except CircuitsError as error:
            unmeasured[key] = str(error)
            if len(unmeasured) == len(folders):
                raise
            line = f"{key[0]}, seed {key[1]}: not measured: {error}"
        else:
            line = _summary(measured[-1].run)
        if report is not None:
            report(line)
    return measured, unmeasured


def keep_retention(measured: Sequence[Measured]) -> list[Run]:
    """The measures of the runs with their retention."""
    anchors = retention_anchors(trios_of(measured))
    return with_retention([one.run for one in measured], anchors)


def outside(run: Run, published: Sequence[Interval]) -> list[str]:
    """Measures of a run that lie outside the intervals published for its recipe.

    Raises:
        ResultError: If nothing was published for its recipe.
    """
    expected = [x for x in published if x.recipe == run.recipe and x.further.low is not None]
    if not expected:
        raise ResultError(f"Nothing was published for recipe {run.recipe!r} over several seeds.")
    values = {x.measure: (x, run.values.get(x.measure)) for x in expected}
    return [name for name, (x, value) in values.items() if value is not None and not x.holds(value)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _check(options) if options.check else _gather(options))


def _gather(options: argparse.Namespace) -> int:
    names = None if options.recipes is None else options.recipes.split(",")
    folder = _runs_folder(options)
    data = HeldOutData.draw(load_task(options.task), options.quads, options.seed)
    measured, unmeasured = measure_folders(finished_folders(folder, names), data, _write_line)
    keys = [(one.run.recipe, one.run.seed) for one in measured]
    states = run_states(folder, keys, unmeasured, names)
    runs = keep_retention(measured)
    order = in_reading_order({run.recipe for run in runs})
    found = intervals(sorted(runs, key=lambda run: order.index(run.recipe)))
    options.out.mkdir(parents=True, exist_ok=True)
    write_runs(options.out / "runs.csv", runs)
    write_intervals(options.out / "intervals.csv", found)
    sheets = make_sheets(measured, runs, states)
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


def _check(options: argparse.Namespace) -> int:
    published = read_intervals(options.out / "intervals.csv")
    data = HeldOutData.draw(load_task(options.task), options.quads, options.seed)
    run = measure_run(options.check, data)
    _write_line(_summary(run))
    names = outside(run, published)
    _write_line(f"outside the published intervals: {', '.join(names) or 'nothing'}")
    return 1 if names else 0


def _summary(run: Run) -> str:
    cells = " / ".join(f"{run.values[f'accuracy_{cell}'] or 0:.3f}" for cell in CELLS)
    share = run.values["spurious_share"]
    said = "-" if share is None else f"{share:.3f}"
    return f"{run.recipe}, seed {run.seed}: accuracy A / N / C / L {cells}, spurious share {said}"


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
    parser.add_argument("--quads", type=int, default=N_QUADS, help=f"number (default {N_QUADS})")
    parser.add_argument("--seed", type=int, default=QUADS_SEED, help="of the test quads")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="folder of tables")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare one further model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
