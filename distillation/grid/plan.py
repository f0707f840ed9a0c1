"""Which runs a grid has and in which order: a run comes after those whose models it needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from behavior.errors import RecipeError
from distillation.recipe import Recipe

Key = tuple[str, int]
"""Name of the recipe and seed."""


@dataclass(frozen=True, slots=True)
class GridRun:
    """One training of a grid.

    Attributes:
        recipe: What is trained.
        seed: What it is trained with, and its parents too.
    """

    recipe: Recipe
    seed: int

    @property
    def key(self) -> Key:
        """What tells it from all others of the grid."""
        return self.recipe.name, self.seed

    @property
    def parents(self) -> tuple[Key, ...]:
        """The runs whose models it needs."""
        return tuple((name, self.seed) for name in self.recipe.parents)

    def __str__(self) -> str:
        return f"{self.recipe.name}, seed {self.seed}"


def plan_runs(recipes: Sequence[Recipe], seeds: Iterable[int]) -> list[GridRun]:
    """Each recipe with each seed, all of a seed before the next."""
    return [GridRun(recipe, seed) for seed in seeds for recipe in recipes]


def in_order(recipes: Mapping[str, Recipe], names: Sequence[str] | None = None) -> list[Recipe]:
    """The named recipes and all they need, each after its parents; None names all.

    Raises:
        RecipeError: If a name is unknown, or recipes need each other in a circle.
    """
    needed: dict[str, tuple[str, ...]] = {}
    waiting = list(recipes if names is None else names)
    while waiting:
        name = waiting.pop()
        if name not in recipes:
            raise RecipeError(
                f"There is no recipe {name!r}. Expected one of: {', '.join(recipes)}."
            )
        if name not in needed:
            needed[name] = recipes[name].parents
            waiting.extend(needed[name])
    try:
        ordered = list(
            TopologicalSorter({name: needed[name] for name in sorted(needed)}).static_order()
        )
    except CycleError as error:
        raise RecipeError(
            f"Recipes need each other in a circle: {' <- '.join(error.args[1])}."
        ) from None
    return [recipes[name] for name in ordered]


def parse_seeds(text: str) -> list[int]:
    """Read `20-24,30` as 20, 21, 22, 23, 24, 30.

    Raises:
        RecipeError: If the text is no list of seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, *rest = part.strip().split("-")
        last = rest[0] if rest else first
        if len(rest) > 1 or not (first.isdecimal() and last.isdecimal()) or int(first) > int(last):
            raise RecipeError(f"Cannot read {text!r} as seeds. Expected the form 20-24 or 1,2,3.")
        seeds.extend(range(int(first), int(last) + 1))
    return seeds
