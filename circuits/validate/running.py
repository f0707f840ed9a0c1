"""All plants, all algorithms, and what they come to with intervals over plants."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from statistics import fmean

import torch

from behavior.command_line import quieten
from behavior.errors import CircuitsError
from behavior.estimates import Estimate
from behavior.examples import CONTRASTS
from behavior.intervals import t_interval
from circuits.plants import make_plant, plantable
from circuits.plants.recipe import NoPlantError
from circuits.validate.options import METRICS, ValidateOptions
from circuits.validate.scoring import REFERENCE, Case, correlation, describe_case

Announce = Callable[[str], None]
Step = Callable[[int, int], None]

_Named = tuple[str, str, int]
"""Kind, family and seed of a plant."""

_PER_SEED = 1000
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Row:
    """One algorithm on one contrast of one plant.

    Attributes:
        set: Kind of plant.
        family: Of the model.
        seed: Of the plant.
        contrast: What differed.
        method: The algorithm.
        values: By metric; what is not defined is left out.
        planted: What was planted.
    """

    set: str
    family: str
    seed: int
    contrast: str
    method: str
    values: Mapping[str, float]
    planted: Mapping[str, object] = field(default_factory=dict[str, object])


def run_all(options: ValidateOptions, announce: Announce, step: Step) -> list[Row]:
    """Every algorithm on every plant.

    Args:
        options: What to run.
        announce: Told the name of each plant that is done.
        step: Told how many are done, and of all.

    A seed of which no plant came is told and left out.

    Raises:
        CircuitsError: If a set has no plants of any of the families, or none came of any seed.
    """
    plants = [
        (kind, families[i % len(families)], _PER_SEED * options.seed + i)
        for kind, families in _dealt(options).items()
        for i in range(options.plants)
    ]
    jobs = min(options.jobs, len(plants))
    run = _run_apart if jobs > 1 else _run_here
    rows: list[list[Row]] = [[] for _ in plants]
    for done, (i, found) in enumerate(run(options, plants, jobs), start=1):
        rows[i] = found
        kind, family, seed = plants[i]
        lacks = "" if found else ", none came of this seed"
        announce(f"{done} of {len(plants)} plants: {kind} ({family}, seed {seed}{lacks})")
        step(done, len(plants))
    if not any(rows):
        raise CircuitsError("No plant came of any of these seeds. Try another --seed.")
    return [row for found in rows for row in found]


def summarise(
    rows: Sequence[Row], methods: Sequence[str]
) -> dict[str, dict[str, dict[str, Estimate]]]:
    """By set, method and metric: the mean over plants with a t interval.

    A plant counts once, with the mean of its two contrasts.
    """
    sets = dict.fromkeys(row.set for row in rows)
    return {
        kind: {
            method: {metric: _estimate(rows, kind, method, metric) for metric in METRICS}
            for method in methods
        }
        for kind in sets
    }


def _dealt(options: ValidateOptions) -> dict[str, tuple[str, ...]]:
    """By set: the families over which its plants are dealt."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in options.sets:
        able = plantable(kind)
        found[kind] = tuple(family for family in options.families if family in able)
        if not found[kind]:
            raise CircuitsError(
                f"There are no {kind} plants of {', '.join(options.families)}. Add one of "
                f"{', '.join(able)} to --families, or leave {kind} out of --sets."
            )
    return found


def _run_here(
    options: ValidateOptions, plants: Sequence[_Named], jobs: int
) -> Iterator[tuple[int, list[Row]]]:
    for i, named in enumerate(plants):
        yield i, _run_plant(options, *named)


def _run_apart(
    options: ValidateOptions, plants: Sequence[_Named], jobs: int
) -> Iterator[tuple[int, list[Row]]]:
    """In processes of their own, with one thread each: the models are too small for more."""
    context = multiprocessing.get_context("spawn")
    with (
        _one_thread_each(),
        ProcessPoolExecutor(jobs, context, initializer=_prepare) as pool,
    ):
        futures = {pool.submit(_run_plant, options, *named): i for i, named in enumerate(plants)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _one_thread_each() -> Generator[None]:
    """Libraries of linear algebra read this once, when a process starts."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _prepare() -> None:
    quieten()
    torch.set_num_threads(1)


def _run_plant(options: ValidateOptions, kind: str, family: str, seed: int) -> list[Row]:
    try:
        plant = make_plant(kind, family, seed)
    except NoPlantError:
        return []
    rows: list[Row] = []
    for place, contrast in enumerate(CONTRASTS):
        case = Case(plant, contrast, options.n_pairs)
        exact, forward = case.score(REFERENCE), case.forward_seconds()
        planted = {**describe_case(case), "draws": plant.draws + 1}
        for method in options.methods:
            # Chance is drawn anew for each case; one draw for all would be no chance.
            drawn = {"seed": seed * len(CONTRASTS) + place} if method == "random" else {}
            changed = {**drawn, **options.option.get(method, {})}
            scores, seconds = exact if method == REFERENCE else case.score(method, **changed)
            cost = {"seconds": seconds, "forwards": seconds / forward}
            values = {**case.measure(scores), **cost}
            r = correlation(scores, exact[0])
            if r is not None:
                values["pearson"] = r
            rows.append(Row(kind, family, seed, contrast, method, values, planted))
    return rows


def _estimate(rows: Sequence[Row], kind: str, method: str, metric: str) -> Estimate:
    found: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if (row.set, row.method) == (kind, method) and metric in row.values:
            found.setdefault((row.family, row.seed), []).append(row.values[metric])
    if not found:
        return Estimate.null("its scores are in another unit than exact effects")
    return t_interval([fmean(values) for values in found.values()])
