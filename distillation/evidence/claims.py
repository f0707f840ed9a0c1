"""The claims in numbers: what each student lost, by how much it agrees, and for which bias.

    C1  student minus f_T, its teacher, of the same seed
    C2  student minus f_S, the same network debiased without a teacher, of the same seed

and, as a control, the student minus the same network trained plainly.

Each difference has two intervals. Over seeds: Student's t of the seeds' differences, which says
what another training would give. Over examples: the bootstrap over quads of the mean difference of
these trainings, which says what other questions to the same models would give.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from behavior.answers import CELL_COLUMNS
from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import ALIGNED_CELLS, CELLS
from behavior.intervals import t_interval
from distillation.evidence.measured import CLAIM_MEASURES, Measured
from distillation.evidence.trios import Trio, find_trios

BySeed = Mapping[int, Measured]

ALL_TYPES = "all"


@dataclass(frozen=True, slots=True)
class Difference:
    """A student minus what it is compared with, in one measure.

    Attributes:
        claim: One of `Trio.claims`.
        student: Recipe of the student.
        reference: Recipe of what it is compared with.
        measure: One of `CLAIM_MEASURES`.
        over_seeds: Mean of the seeds' differences with its t interval.
        over_examples: The same mean with its bootstrap interval over quads.
    """

    claim: str
    student: str
    reference: str
    measure: str
    over_seeds: Estimate
    over_examples: Estimate


@dataclass(frozen=True, slots=True)
class TypeAccuracy:
    """What a recipe does on the quads of one type, over its seeds.

    Attributes:
        recipe: Name of the recipe.
        type: Template of the quads.
        n_quads: Of this type.
        conflicting: Accuracy where the shortcut points away from the truth.
        gap: Accuracy aligned minus conflicting.
    """

    recipe: str
    type: str
    n_quads: int
    conflicting: Estimate
    gap: Estimate


@dataclass(frozen=True, slots=True)
class CellAgreement:
    """How often a student answers as its teacher does in one cell, over seeds.

    Attributes:
        student: Recipe of the student.
        teacher: Recipe of f_T.
        cell: A, N, C or L.
        rate: Share of equal answers.
    """

    student: str
    teacher: str
    cell: str
    rate: Estimate


def by_recipe(measured: Sequence[Measured]) -> dict[str, dict[int, Measured]]:
    """The runs of each recipe by seed."""
    found: dict[str, dict[int, Measured]] = {}
    for one in measured:
        found.setdefault(one.run.recipe, {})[one.run.seed] = one
    return found


def trios_of(measured: Sequence[Measured]) -> list[Trio]:
    """The students among the runs with what they are compared with."""
    return find_trios({one.run.recipe: one.recipe for one in measured})


def claim_differences(measured: Sequence[Measured]) -> list[Difference]:
    """C1, C2 and the control of every student, in every measure."""
    runs = by_recipe(measured)
    return [
        _difference(claim, trio.student, reference, measure, runs)
        for trio in trios_of(measured)
        for claim, reference in trio.claims.items()
        for measure in CLAIM_MEASURES
    ]


def type_accuracies(measured: Sequence[Measured]) -> list[TypeAccuracy]:
    """Every recipe on the quads of every type; one type `all` where the task has none."""
    return [
        _type_accuracy(recipe, kind, list(runs.values()))
        for recipe, runs in by_recipe(measured).items()
        for kind in _types(next(iter(runs.values())))
    ]


def agreements(measured: Sequence[Measured]) -> list[CellAgreement]:
    """Every student with its teacher, cell by cell."""
    runs = by_recipe(measured)
    found: list[CellAgreement] = []
    for trio in trios_of(measured):
        pairs = _pairs(runs[trio.student], runs[trio.teacher])
        for cell, column in CELL_COLUMNS.items():
            same = [
                float((a.predictions[:, column] == b.predictions[:, column]).mean())
                for a, b in pairs
            ]
            found.append(CellAgreement(trio.student, trio.teacher, cell, t_interval(same)))
    return found


def _difference(
    claim: str,
    student: str,
    reference: str,
    measure: str,
    runs: Mapping[str, BySeed],
) -> Difference:
    pairs = [
        pair
        for pair in _pairs(runs[student], runs[reference])
        if all(one.run.values[measure] is not None for one in pair)
    ]
    replicates = [a.replicates[measure] - b.replicates[measure] for a, b in pairs]
    over_seeds = t_interval([float(values[0]) for values in replicates])
    if replicates:
        n_quads = len(pairs[0][0].right)
        over_examples = estimate_replicates(np.mean(replicates, axis=0), n_quads)
    else:
        over_examples = Estimate.null("no seeds")
    return Difference(claim, student, reference, measure, over_seeds, over_examples)


def _pairs(ours: BySeed, theirs: BySeed) -> list[tuple[Measured, Measured]]:
    return [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]


def _types(one: Measured) -> list[str]:
    named = sorted(set(one.types))
    return named if len(named) > 1 else [ALL_TYPES]


def _type_accuracy(recipe: str, kind: str, runs: Sequence[Measured]) -> TypeAccuracy:
    aligned_cells = np.array([cell in ALIGNED_CELLS for cell in CELLS])
    conflicting: list[float] = []
    gaps: list[float] = []
    n_quads = 0
    for one in runs:
        chosen = np.array([kind in (ALL_TYPES, own) for own in one.types])
        accuracy = one.right[chosen].mean(0)
        n_quads = int(chosen.sum())
        conflicting.append(float(accuracy[~aligned_cells].mean()))
        gaps.append(float(accuracy[aligned_cells].mean()) - conflicting[-1])
    return TypeAccuracy(recipe, kind, n_quads, t_interval(conflicting), t_interval(gaps))
