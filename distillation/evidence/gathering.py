"""Measures finished runs on the same data, and says which fit what was published."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from behavior.errors import CircuitsError, ResultError
from behavior.examples import CELLS
from distillation.evidence.choice import ALL, Choice
from distillation.evidence.claims import trios_of
from distillation.evidence.measured import HeldOutData, Measured, measure_folder
from distillation.evidence.roles import with_retention
from distillation.evidence.tables import Interval, Run
from distillation.evidence.trios import retention_anchors
from distillation.folders import RECORD
from distillation.grid.plan import Key

Report = Callable[[str], None]


def finished_folders(runs: Path, choice: Choice = ALL) -> list[Path]:
    """Finished trainings among the runs, those of a choice.

    Raises:
        ResultError: If there are none.
    """
    records = sorted(runs.glob(f"*/seed-*/{RECORD}"))
    keys = {record.parent: _key(record.parent) for record in records if _has_seed(record.parent)}
    chosen = [folder for folder, key in keys.items() if key in choice]
    if not keys:
        raise ResultError(f"{runs} holds no finished training. Run distillation.grid first.")
    if not chosen:
        raise ResultError(
            f"{runs} holds finished trainings, but none of the recipes and seeds asked for. "
            "Leave --recipes, --seeds and --grid out to take all."
        )
    return chosen


def _has_seed(folder: Path) -> bool:
    return folder.name.removeprefix("seed-").isdecimal()


def _key(folder: Path) -> Key:
    return folder.parent.name, int(folder.name.removeprefix("seed-"))


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
        key = _key(folder)
        try:
            measured.append(measure_folder(folder, data))
        except CircuitsError as error:
            unmeasured[key] = str(error)
            if len(unmeasured) == len(folders):
                raise
            line = f"{key[0]}, seed {key[1]}: not measured: {error}"
        else:
            line = run_summary(measured[-1].run)
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


def run_summary(run: Run) -> str:
    """One line: accuracy of the cells, and the spurious share."""
    cells = " / ".join(f"{run.values[f'accuracy_{cell}'] or 0:.3f}" for cell in CELLS)
    share = run.values["spurious_share"]
    said = "-" if share is None else f"{share:.3f}"
    return f"{run.recipe}, seed {run.seed}: accuracy A / N / C / L {cells}, spurious share {said}"
