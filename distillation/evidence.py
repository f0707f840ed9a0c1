"""What trained models do, over all seeds of their recipes.

    python -m distillation.evidence --runs runs --out docs/evidence

1. Every finished folder `RUNS/<recipe>/seed-<K>` answers the same test quads and, for accuracy
   in the domain, the same test examples.
2. `runs.csv` keeps each run, `intervals.csv` the t interval of each recipe's mean over seeds and
   the prediction interval for one further seed; `evidence.md` shows both, and the differences
   between recipes seed by seed.
3. The seed to bundle is that of the median erosion of the spurious share, not the prettiest; of
   several families of recipes (`vit-teacher`, `resnet-teacher`), each has its own.

`--check FOLDER` measures one further model and says whether it lies within the prediction
intervals that were published.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor

from behavior.answers import QuadAnswers
from behavior.errors import ResultError
from behavior.examples import CELLS, Example, Quad, Task
from behavior.inputs import Input
from behavior.measures import measure_cells, measure_quads
from behavior.readout import read_labels
from behavior.resampling import Resamples, resample_units
from behavior.tasks import load_task
from distillation.commands import RUNS, run_command
from distillation.evidence_page import render_markdown
from distillation.evidence_roles import families, in_reading_order, median_seed, with_retention
from distillation.evidence_tables import (
    MEASURES,
    Interval,
    Run,
    intervals,
    read_intervals,
    write_intervals,
    write_runs,
)
from distillation.folders import RECORD, read_record
from distillation.models import load_classifier

N_QUADS = 1000
N_EXAMPLES = 2000
QUADS_SEED = 20_000
"""Test quads that nobody looked at while settings were chosen."""


@dataclass(frozen=True, slots=True)
class HeldOutData:
    """What every run is asked, the same for all.

    Attributes:
        labels: Names of the classes of the task.
        quads: Factorial quads of the test split.
        examples: In-domain examples of the test split.
        resamples: Over the quads.
    """

    labels: tuple[str, ...]
    quads: tuple[Quad[Any], ...]
    examples: tuple[Example[Any], ...]
    resamples: Resamples

    @classmethod
    def draw(cls, task: Task[Any], n_quads: int = N_QUADS, seed: int = QUADS_SEED) -> "HeldOutData":
        """Quads and in-domain examples of the test split of a task."""
        quads = task.quads(n_quads, seed)
        ids, templates = [quad.id for quad in quads], [quad.template for quad in quads]
        examples = tuple(task.examples("test", N_EXAMPLES, seed))
        return cls(task.labels, quads, examples, resample_units(ids, templates))


def measure_run(folder: Path, data: HeldOutData) -> Run:
    """Measure one finished folder.

    Raises:
        ResultError: If the folder is no finished training.
    """
    record = read_record(folder)
    answers, in_domain = _answer(folder, data)
    cells = measure_cells(answers, data.resamples)
    measured = measure_quads(answers, data.resamples)
    found = {name: estimate.value for name, estimate in measured.items()}
    found |= {f"accuracy_{cell}": cells[cell]["accuracy"].value for cell in CELLS}
    found["id_accuracy"] = in_domain
    return Run(
        recipe=cast(dict[str, str], record["recipe"])["name"],
        seed=cast(int, record["seed"]),
        digest=cast(str, record["digest"]),
        seconds=cast(float, record["seconds"]),
        values={name: found.get(name) for name in MEASURES},
    )


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


def gather(
    folders: Sequence[Path], data: HeldOutData, report: Callable[[str], None] | None = None
) -> list[Run]:
    """Measure finished folders on the same data; report is called with a line for each."""
    runs: list[Run] = []
    for folder in folders:
        runs.append(measure_run(folder, data))
        if report is not None:
            report(_summary(runs[-1]))
    return with_retention(runs)


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
    folders = finished_folders(options.runs, names)
    data = HeldOutData.draw(load_task(options.task), options.quads, options.seed)
    runs = gather(folders, data, _write_line)
    order = in_reading_order({run.recipe for run in runs})
    found = intervals(sorted(runs, key=lambda run: order.index(run.recipe)))
    options.out.mkdir(parents=True, exist_ok=True)
    write_runs(options.out / "runs.csv", runs)
    write_intervals(options.out / "intervals.csv", found)
    (options.out / "evidence.md").write_text(render_markdown(runs, found), encoding="utf-8")
    _write_line(f"tables: {options.out}")
    for family in families(order):
        seed = median_seed(runs, family)
        if seed is not None:
            name = f", {family.removesuffix('-')}" if family else ""
            _write_line(f"seed of the median erosion of the spurious share{name}: {seed}")
    return 0


def _check(options: argparse.Namespace) -> int:
    published = read_intervals(options.out / "intervals.csv")
    data = HeldOutData.draw(load_task(options.task), options.quads, options.seed)
    run = measure_run(options.check, data)
    _write_line(_summary(run))
    names = outside(run, published)
    _write_line(f"outside the published intervals: {', '.join(names) or 'nothing'}")
    return 1 if names else 0


def _answer(folder: Path, data: HeldOutData) -> tuple[QuadAnswers, float | None]:
    classifier = load_classifier(folder)
    readout = read_labels(classifier.classes, data.labels)

    def logits(inputs: Sequence[Input]) -> Float[Tensor, "input n_labels"]:
        return readout.task_logits(classifier.predict(classifier.encode(inputs)))

    quads = data.quads
    answers = QuadAnswers(
        {cell: logits([quad.cell(cell) for quad in quads]) for cell in CELLS},
        readout.index([quad.label for quad in quads]),
        readout.index([quad.foil for quad in quads]),
        tuple(quad.id for quad in quads),
        tuple(quad.template for quad in quads),
    )
    truth = readout.index([example.label for example in data.examples])
    right = logits([example.input for example in data.examples]).argmax(-1) == truth
    return answers, float(right.double().mean())


def _summary(run: Run) -> str:
    cells = " / ".join(f"{run.values[f'accuracy_{cell}'] or 0:.3f}" for cell in CELLS)
    share = run.values["spurious_share"]
    said = "-" if share is None else f"{share:.3f}"
    return f"{run.recipe}, seed {run.seed}: accuracy A / N / C / L {cells}, spurious share {said}"


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m distillation.evidence",
        description="Measure finished runs on the same test quads and write tables over seeds.",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default runs)")
    parser.add_argument("--recipes", help="names, separated by commas (default all there are)")
    parser.add_argument("--task", default="nli-overlap", help="source of the test quads")
    parser.add_argument("--quads", type=int, default=N_QUADS, help=f"number (default {N_QUADS})")
    parser.add_argument("--seed", type=int, default=QUADS_SEED, help="of the test quads")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="folder of tables")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare one further model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
