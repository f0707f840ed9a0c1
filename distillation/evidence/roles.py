"""Which recipes are compared with which: the five roles, and families of recipes.

The recipes of a family are its roles, `vit-teacher`, `vit-student` and so on, and all others whose
names begin alike. Recipes whose names begin with no family's are one family too, without a name:
their roles are called `teacher`, `student` and so on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from distillation.evidence.tables import Run

ROLES = ("teacher", "teacher-plain", "student", "student-plain", "student-debiased")

LEAST_REMOVED = 0.1
"""Spurious share that a teacher's debiasing must have removed before anything counts as kept."""


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """The recipes of each family in reading order, by the beginning of their names.

    The beginning of a family that has a teacher `vit-teacher` is `vit-`; that of recipes without
    such a teacher is empty.
    """
    known = set(names)
    beginnings = {name.removesuffix("teacher") for name in known if name.endswith("-teacher")}
    members: dict[str, set[str]] = {}
    for name in known:
        fitting = [beginning for beginning in beginnings if name.startswith(beginning)]
        members.setdefault(max(fitting, key=len, default=""), set()).add(name)
    return {family: _ordered(family, members[family]) for family in sorted(members)}


def with_retention(
    runs: Sequence[Run], anchors: Mapping[str, tuple[str, str]] | None = None
) -> list[Run]:
    """Add to each run which share of its teacher's debiasing it kept, where both are there.

    (share of teacher-plain - share of the run) / (share of teacher-plain - share of teacher), all
    of one seed; None if the difference below is at most `LEAST_REMOVED`: of less, a share is noise.

    Args:
        runs: Of all recipes.
        anchors: Plain and debiased teacher of a recipe, where the recipes tell; those of the
            others are the two of their family.
    """
    shares = {(run.recipe, run.seed): run.values["spurious_share"] for run in runs}
    family_of = {
        name: family
        for family, members in families(run.recipe for run in runs).items()
        for name in members
    }
    found: list[Run] = []
    for run in runs:
        family = family_of[run.recipe]
        usual = f"{family}teacher-plain", f"{family}teacher"
        anchor = (anchors or {}).get(run.recipe, usual)
        plain, teacher = (shares.get((name, run.seed)) for name in anchor)
        kept = _retention(plain, teacher, run.values["spurious_share"])
        found.append(replace(run, values={**run.values, "retention": kept}))
    return found


def median_seed(runs: Sequence[Run], family: str = "") -> int | None:
    """The seed of the median erosion of the spurious share, student minus teacher, of a family.

    Only seeds that have all five roles count; None if there are none. Of an even number the less
    eroded middle one.
    """
    shares = {(run.recipe, run.seed): run.values["spurious_share"] for run in runs}
    erosion: dict[int, float] = {}
    for seed in sorted({run.seed for run in runs}):
        student = shares.get((f"{family}student", seed))
        teacher = shares.get((f"{family}teacher", seed))
        whole = all((family + role, seed) in shares for role in ROLES)
        if whole and student is not None and teacher is not None:
            erosion[seed] = student - teacher
    ranked = sorted(erosion, key=lambda seed: erosion[seed])
    return ranked[(len(ranked) - 1) // 2] if ranked else None


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Names of recipes, family by family, the five roles of each first."""
    return [name for members in families(names).values() for name in members]


def _ordered(family: str, members: set[str]) -> list[str]:
    roles = [family + role for role in ROLES if family + role in members]
    return roles + sorted(members.difference(roles))


def _retention(plain: float | None, teacher: float | None, run: float | None) -> float | None:
    if plain is None or teacher is None or run is None or plain - teacher <= LEAST_REMOVED:
        return None
    return (plain - run) / (plain - teacher)
