"""Which runs of a folder are gathered."""

from collections.abc import Collection
from dataclasses import dataclass

from distillation.grid.plan import Key


@dataclass(frozen=True, slots=True)
class Choice:
    """Runs by recipe and seed; what is not said leaves all in.

    Attributes:
        recipes: Names of recipes.
        seeds: Seeds.
        asked: Runs that are to be there, of a grid file for example.
    """

    recipes: Collection[str] | None = None
    seeds: Collection[int] | None = None
    asked: Collection[Key] | None = None

    def __contains__(self, key: Key) -> bool:
        recipe, seed = key
        return (
            (self.recipes is None or recipe in self.recipes)
            and (self.seeds is None or seed in self.seeds)
            and (self.asked is None or key in self.asked)
        )


ALL = Choice()
