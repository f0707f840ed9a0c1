"""Numbers over seeds: each run, intervals of each recipe, paired differences; read and written."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from behavior.errors import ResultError
from behavior.estimates import Estimate
from behavior.intervals import t_interval, t_prediction_interval

MEASURES: dict[str, str] = {
    "id_accuracy": "in-domain",
    "accuracy_A": "acc A",
    "accuracy_N": "N",
    "accuracy_C": "C",
    "accuracy_L": "L",
    "spurious_gap": "gap",
    "accuracy_gap_AC": "gap A-C",
    "spurious_share": "share",
    "auc": "AUC(A,C)",
    "auc_NL": "AUC(N,L)",
    "auc4": "AUC4",
    "confidence_when_wrong": "conf. wrong",
    "core_effect": "core",
    "shortcut_effect": "shortcut",
    "interaction": "interaction",
    "retention": "retention",
}
"""Measures of a run and how the tables head them; effects and share in probability."""

TOLERANCE = 0.01
"""Measures near 0 or 1 hardly vary over seeds; a run this near to the mean is inside as well."""

_INTERVALS = ("recipe", "measure", "n", "mean", "low", "high", "prediction_low", "prediction_high")


@dataclass(frozen=True, slots=True)
class Run:
    """One finished training and what it does on the test data.

    Attributes:
        recipe: Name of its recipe.
        seed: What it was trained with.
        digest: Of its weights.
        seconds: Of training.
        values: Value of each of `MEASURES`; None where it is not defined.
    """

    recipe: str
    seed: int
    digest: str
    seconds: float
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Interval:
    """A measure of a recipe over its seeds.

    Attributes:
        recipe: Name of the recipe.
        measure: Name of the measure.
        mean: Mean over seeds with its t interval.
        further: The same mean with the prediction interval for one further seed.
    """

    recipe: str
    measure: str
    mean: Estimate
    further: Estimate

    def holds(self, value: float) -> bool:
        """Whether a further seed's value is where it is expected, or within the tolerance."""
        mean, low, high = self.further.value, self.further.low, self.further.high
        if mean is None or low is None or high is None:
            return False
        return low <= value <= high or abs(value - mean) <= TOLERANCE


def intervals(runs: Sequence[Run]) -> list[Interval]:
    """Every measure of every recipe over its seeds, in the order of their first runs."""
    found: list[Interval] = []
    for recipe in dict.fromkeys(run.recipe for run in runs):
        for measure in MEASURES:
            given = [run.values[measure] for run in runs if run.recipe == recipe]
            values = [value for value in given if value is not None]
            mean, further = t_interval(values), t_prediction_interval(values)
            found.append(Interval(recipe, measure, mean, further))
    return found


def paired_difference(runs: Sequence[Run], recipe: str, reference: str, measure: str) -> Estimate:
    """Recipe minus reference over the seeds that both have, with the t interval of the mean."""
    by_seed: dict[str, dict[int, float | None]] = {
        name: {run.seed: run.values[measure] for run in runs if run.recipe == name}
        for name in (recipe, reference)
    }
    shared = sorted(by_seed[recipe].keys() & by_seed[reference].keys())
    pairs = [(by_seed[recipe][seed], by_seed[reference][seed]) for seed in shared]
    return t_interval([a - b for a, b in pairs if a is not None and b is not None])


def write_runs(path: Path, runs: Sequence[Run]) -> None:
    """One row for each run."""
    head = ("recipe", "seed", *MEASURES, "seconds", "digest")
    rows = [
        (run.recipe, run.seed, *map(run.values.get, MEASURES), run.seconds, run.digest)
        for run in runs
    ]
    _write_csv(path, head, rows)


def read_runs(path: Path) -> list[Run]:
    """What `write_runs` wrote.

    Raises:
        ResultError: If the file is missing or is another table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Run(
                    row["recipe"],
                    int(row["seed"]),
                    row["digest"],
                    float(row["seconds"]),
                    {name: float(row[name]) if row[name] else None for name in MEASURES},
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise ResultError(
            f"{path} cannot be read as a table of runs ({error}). Write it with "
            "`python -m distillation.evidence`."
        ) from error


def write_intervals(path: Path, found: Sequence[Interval]) -> None:
    """One row for each recipe and measure, to be read by `read_intervals`."""
    rows = [
        (
            x.recipe,
            x.measure,
            x.mean.n,
            x.mean.value,
            x.mean.low,
            x.mean.high,
            x.further.low,
            x.further.high,
        )
        for x in found
    ]
    _write_csv(path, _INTERVALS, rows)


def read_intervals(path: Path) -> list[Interval]:
    """What `write_intervals` wrote.

    Raises:
        ResultError: If the file cannot be read or is another one.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ResultError(
            f"{path} cannot be read ({error.strerror}). Give intervals.csv."
        ) from None
    if not rows or set(rows[0]) != set(_INTERVALS):
        raise ResultError(f"{path} holds no intervals. Expected columns {', '.join(_INTERVALS)}.")
    return [
        Interval(
            row["recipe"],
            row["measure"],
            _estimate(row, "low", "high"),
            _estimate(row, "prediction_low", "prediction_high"),
        )
        for row in rows
    ]


def _estimate(row: Mapping[str, str], low: str, high: str) -> Estimate:
    if not row["mean"]:
        return Estimate.null("not defined", int(row["n"]))
    if not row[low]:
        return Estimate(float(row["mean"]), None, None, int(row["n"]), "one seed gives no interval")
    return Estimate(float(row["mean"]), float(row[low]), float(row[high]), int(row["n"]))


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value
