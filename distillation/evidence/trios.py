"""Which trained models belong together: a student, its debiased teacher, and what they are held to.

The recipes tell, whatever they are called:

    f_T            the model at the head of the student's line of distillations
    f_S            a network like the student's, trained as f_T was and without a teacher
    plain teacher  a network like f_T's, trained on the same data with cross-entropy alone
    plain student  the same, of the student's

C1 compares the student with f_T, C2 with f_S; the plain student says what distillation added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

RecipeJson = Mapping[str, object]
"""A recipe as `training.json` holds it."""

_METHOD = ("objective", "bias_model")
"""What f_S shares with f_T, besides the steps (f_T's, or those of the student); a plain objective
debiases by its data, if at all, and then these are what is shared."""


@dataclass(frozen=True, slots=True)
class Trio:
    """Names of the recipes of a distilled student and of what it is compared with.

    Attributes:
        student: g.
        teacher: f_T.
        debiased: f_S; None if there is none.
        plain_teacher: None if there is none.
        plain_student: None if there is none.
    """

    student: str
    teacher: str
    debiased: str | None
    plain_teacher: str | None
    plain_student: str | None = None

    @property
    def claims(self) -> dict[str, str]:
        """What the student is compared with: C1, C2, and `plain`, the control."""
        compared = {"C1": self.teacher, "C2": self.debiased, "plain": self.plain_student}
        return {claim: name for claim, name in compared.items() if name is not None}


def find_trios(recipes: Mapping[str, RecipeJson]) -> list[Trio]:
    """One for each distilled student whose first teacher is there too, in order of their names.

    A teacher of another objective, such as confidence regularisation, makes no student: there it
    belongs to the debiasing.
    """
    found: list[Trio] = []
    for name in sorted(recipes):
        teacher = _head(name, recipes)
        if teacher is not None and teacher != name:
            debiased = _undistilled(name, teacher, recipes)
            plain = _plain(teacher, recipes), _nearest_plain(name, recipes)
            found.append(Trio(name, teacher, debiased, *plain))
    return found


def retention_anchors(trios: list[Trio]) -> dict[str, tuple[str, str]]:
    """For each recipe of the trios, the plain and the debiased teacher that it is measured by."""
    anchors: dict[str, tuple[str, str]] = {}
    for trio in trios:
        if trio.plain_teacher is None or trio.plain_teacher == trio.teacher:
            continue
        for name in (trio.student, trio.teacher, trio.debiased):
            if name is not None:
                anchors.setdefault(name, (trio.plain_teacher, trio.teacher))
    return anchors


def _head(name: str, recipes: Mapping[str, RecipeJson]) -> str | None:
    """The first of the line of distillations; None if it is not there."""
    seen: set[str] = set()
    while name in recipes and name not in seen:
        seen.add(name)
        if not _is_distilled(recipes[name]):
            return name
        teacher = recipes[name]["teacher"]
        name = teacher if isinstance(teacher, str) else cast(list[str], teacher)[0]
    return None


def _is_distilled(recipe: RecipeJson) -> bool:
    return _objective(recipe) == "logit-distillation"


def _objective(recipe: RecipeJson) -> str:
    return cast(Mapping[str, str], recipe["objective"])["name"]


def _undistilled(student: str, teacher: str, recipes: Mapping[str, RecipeJson]) -> str | None:
    ours, theirs = recipes[student], recipes[teacher]

    def fits(name: str, recipe: RecipeJson) -> bool:
        alike = recipe["model"] == ours["model"] and all(
            recipe.get(key) == theirs.get(key) for key in _METHOD
        )
        if name == teacher or _is_distilled(recipe) or not alike:
            return False
        if _objective(theirs) == "plain":
            return recipe["data"] == theirs["data"]
        return recipe["optimization"] in (theirs["optimization"], ours["optimization"])

    def distance(name: str) -> tuple[bool, bool, str]:
        recipe = recipes[name]
        return (
            recipe["optimization"] != theirs["optimization"],
            recipe["data"] != ours["data"],
            name,
        )

    return min((x for x in recipes if fits(x, recipes[x])), key=distance, default=None)


def _plain(teacher: str, recipes: Mapping[str, RecipeJson]) -> str | None:
    theirs = recipes[teacher]
    start = cast(Mapping[str, object] | None, theirs.get("start"))
    if _objective(theirs) == "plain":
        # Debiased by its data, if at all, after it was trained without.
        before = None if start is None else cast(str, start["recipe"])
        return before if before in recipes else teacher
    return _nearest_plain(teacher, recipes)


def _nearest_plain(name: str, recipes: Mapping[str, RecipeJson]) -> str | None:
    """A network like this recipe's, trained on the same data with cross-entropy alone."""
    given = recipes[name]
    start = given.get("start")
    fitting = [
        other
        for other, recipe in recipes.items()
        if _objective(recipe) == "plain"
        and recipe.get("start") in (None, start)
        and recipe["model"] == given["model"]
        and recipe["data"] == given["data"]
    ]

    def distance(other: str) -> tuple[bool, bool, str]:
        recipe = recipes[other]
        return (
            recipe.get("start") != start,
            recipe["optimization"] != given["optimization"],
            other,
        )

    return min(fitting, key=distance, default=None)
