"""Grid files: which recipes, with which variations and seeds, in a few lines of YAML.

    description: Temperature and weight of the teacher, and three methods.
    folder: ..                          # of the recipes, from the file; its own folder if left out
    seeds: 40-44
    runs:
      - recipes: ["{role}-{method}", student-plain]       # names or patterns such as vit-*
        for: {role: [teacher, student], method: [dfr, group-dro]}
      - recipes: [student]
        seeds: 40,41
        variants:
          temperature: {t1: {objective.temperature: 1}, t2: {}, t4: {objective.temperature: 4}}
          alpha: {a0: {objective.alpha: 0}, a5: {}}

Each combination of one variant per axis is a run of its own, named after those that change
something: `student`, `student+t1`, `student+t1+a0`. What a run needs is added to the grid and
trained once; a variant may name another one as its teacher.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import cast

from behavior.errors import RecipeError
from distillation.grid.plan import GridRun, in_order, parse_seeds
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe
from distillation.recipe_yaml import Section, read_sections, refuse_unknown

Settings = Mapping[str, object]

_KEYS = ("description", "folder", "seeds", "runs", "set")
_BLOCK_KEYS = ("recipes", "for", "seeds", "variants")


@dataclass(frozen=True, slots=True)
class _Block:
    """One entry of `runs`.

    Attributes:
        names: Names of recipes or patterns, with the places of `for` filled in.
        variants: For each axis, the settings of each variant.
        seeds: Of its runs.
    """

    names: tuple[str, ...]
    variants: tuple[Mapping[str, Settings], ...]
    seeds: tuple[int, ...]


class _Recipes:
    """The recipes of a folder, each read once, and the variants that a grid makes of them."""

    def __init__(self, folder: Path, overrides: Sequence[str]) -> None:
        self.names = sorted(path.stem for path in folder.glob("*.yaml"))
        if not self.names:
            raise RecipeError(f"{folder} holds no recipe (NAME.yaml). Name its place as `folder`.")
        self._folder, self._overrides = folder, tuple(overrides)
        self.found: dict[str, Recipe] = {}

    def matching(self, patterns: Iterable[str]) -> list[str]:
        """Names that fit one of the patterns, in the order of the patterns."""
        names: list[str] = []
        for pattern in patterns:
            fitting = [name for name in self.names if fnmatchcase(name, pattern)]
            if not fitting:
                raise RecipeError(
                    f"no recipe fits {pattern!r}. Expected one of: {', '.join(self.names)}."
                )
            names += fitting
        return list(dict.fromkeys(names))

    def add(self, name: str, label: str = "", settings: Settings | None = None) -> str:
        """Read a recipe with settings laid over it; returns the name of what was made."""
        own = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
        recipe = load_recipe(self._folder / f"{name}.yaml", [*self._overrides, *own])
        if label:
            description = f"{recipe.description.rstrip('.')}; variant {label}."
            recipe = replace(recipe, name=f"{name}+{label}", description=description)
        if self.found.setdefault(recipe.name, recipe) != recipe:
            raise RecipeError(f"{recipe.name!r} stands for two different variants.")
        return recipe.name

    def add_parents(self) -> None:
        """Read what the recipes need and the grid does not name."""
        waiting = list(self.found)
        while waiting:
            for parent in self.found[waiting.pop()].parents:
                if parent not in self.found:
                    self.matching([parent])
                    waiting.append(self.add(parent))


def load_grid(
    path: Path, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> list[GridRun]:
    """The runs of a grid file, each after those it needs, all of a seed before the next.

    Args:
        path: The file.
        overrides: `section.key=value` settings laid over all recipes, which keep their names.
        seeds: Instead of those of the file.

    Raises:
        RecipeError: If the file or one of its recipes cannot be used.
    """
    settings = read_sections(path)
    try:
        refuse_unknown(settings, _KEYS, "")
        blocks = list(_read_blocks(settings, seeds))
        common = [f"{key}={json.dumps(value)}" for key, value in _settings(settings, "set").items()]
        folder = path.parent / str(settings.get("folder", "."))
        recipes = _Recipes(folder, [*common, *overrides])
        wanted = [(name, seed) for block in blocks for name, seed in _expand(block, recipes)]
        recipes.add_parents()
    except RecipeError as error:
        message = str(error)
        raise RecipeError(message if ".yaml: " in message else f"{path}: {message}") from None
    return _with_parents(recipes.found, wanted)


def _expand(block: _Block, recipes: _Recipes) -> Iterator[tuple[str, int]]:
    for name in recipes.matching(block.names):
        for variant in product(*(axis.items() for axis in block.variants)):
            label = "+".join(key for key, settings in variant if settings)
            merged = {key: value for _, settings in variant for key, value in settings.items()}
            made = recipes.add(name, label, merged)
            for seed in block.seeds:
                yield made, seed


def _with_parents(
    recipes: Mapping[str, Recipe], wanted: Sequence[tuple[str, int]]
) -> list[GridRun]:
    by_seed: dict[int, list[str]] = {}
    for name, seed in wanted:
        by_seed.setdefault(seed, []).append(name)
    return [
        GridRun(recipe, seed)
        for seed, names in by_seed.items()
        for recipe in in_order(recipes, list(dict.fromkeys(names)))
    ]


def _read_blocks(settings: Section, seeds: Sequence[int] | None) -> Iterator[_Block]:
    entries = settings.get("runs")
    if not isinstance(entries, list) or not entries:
        raise RecipeError("runs must be a list of what is to be trained.")
    for number, entry in enumerate(cast(list[object], entries), start=1):
        try:
            yield _read_block(entry, settings.get("seeds", 0), seeds)
        except RecipeError as error:
            raise RecipeError(f"runs, entry {number}: {error}") from None


def _read_block(entry: object, common_seeds: object, seeds: Sequence[int] | None) -> _Block:
    if not isinstance(entry, dict):
        raise RecipeError(f"must hold keys with values, got {entry!r}.")
    block = cast(Section, entry)
    refuse_unknown(block, _BLOCK_KEYS, "")
    given = seeds if seeds is not None else _seeds(block.get("seeds", common_seeds))
    axes = _settings(block, "variants")
    variants = tuple(_axis(name, axis) for name, axis in axes.items())
    return _Block(tuple(_names(block)), variants, tuple(given))


def _names(block: Section) -> Iterator[str]:
    places = {
        name: _texts(values, f"for.{name}") for name, values in _settings(block, "for").items()
    }
    patterns = _texts(block.get("recipes"), "recipes")
    for filling in product(*places.values()):
        values = dict(zip(places, filling, strict=True))
        for pattern in patterns:
            try:
                yield pattern.format_map(values)
            except (KeyError, ValueError, IndexError):
                raise RecipeError(
                    f"recipes names {pattern!r}, but `for` gives {', '.join(places) or 'nothing'}."
                ) from None


def _axis(name: str, axis: object) -> Mapping[str, Settings]:
    if not isinstance(axis, dict) or not axis:
        raise RecipeError(f"variants.{name} must hold variants with their settings, got {axis!r}.")
    section = cast(Section, axis)
    return {variant: _settings(section, variant) for variant in section}


def _settings(section: Section, key: str) -> Section:
    value = section.get(key) or {}
    if not isinstance(value, dict):
        raise RecipeError(f"{key} must hold keys with values, got {value!r}.")
    return cast(Section, value)


def _texts(value: object, where: str) -> list[str]:
    items = cast(list[object], value) if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise RecipeError(f"{where} must be a list of names, got {value!r}.")
    return cast(list[str], items)


def _seeds(value: object) -> list[int]:
    items = cast(list[object], value) if isinstance(value, list) else [value]
    return parse_seeds(",".join(str(item) for item in items))
