"""Reads the sections of recipes from YAML, without the nets and losses that they name.

A file may build on a sibling with `extends: NAME`: sections are merged key by key, and a section
whose `name` differs (another objective) replaces the whole. Repeated keys are errors.
"""

import argparse
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import cast

import yaml

from behavior.errors import RecipeError
from distillation.commands import RECIPES

Section = dict[str, object]


def read_settings(path: Path, overrides: Sequence[str] = ()) -> Section:
    """The sections of a recipe with those it builds on, and settings laid over them, unchecked.

    Raises:
        RecipeError: If a file or a setting cannot be read.
    """
    settings = _read_with_bases(path, ())
    for override in overrides:
        settings = _merge(settings, _parse_override(override))
    return settings


def recipe_paths(folder: Path) -> list[Path]:
    """The recipe files of a folder, by name.

    Raises:
        RecipeError: If the folder holds none.
    """
    paths = sorted(folder.glob("*.yaml"), key=lambda path: path.stem)
    if not paths:
        raise RecipeError(f"{folder} holds no recipe (NAME.yaml). Give the folder of the recipes.")
    return paths


def describe_recipes(options: argparse.Namespace) -> int:
    """What `python -m distillation.train --list` does: a line for each recipe, unchecked.

    Raises:
        RecipeError: If there are none, or one is no YAML.
    """
    folder: Path = options.recipe or RECIPES
    paths = recipe_paths(folder if folder.is_dir() else folder.parent)
    width = max(len(path.stem) for path in paths)
    for path in paths:
        said = read_settings(path).get("description", "")
        sys.stdout.write(f"{path.stem:{width}}  {said}\n")
    return 0


def _read_with_bases(path: Path, above: tuple[Path, ...]) -> Section:
    if path in above:
        raise RecipeError(f"{path}: extends comes back to itself through {above[-1].name}.")
    settings = read_sections(path)
    base = settings.pop("extends", None)
    if base is None:
        return settings
    if not isinstance(base, str):
        raise RecipeError(f"{path}: extends must be the name of a recipe, got {base!r}.")
    base_path = path.with_name(f"{base}.yaml")
    if not base_path.is_file():
        raise RecipeError(f"{path}: extends names {base!r}, but there is no {base_path}.")
    return _merge(_read_with_bases(base_path, (*above, path)), settings)


def read_sections(path: Path) -> Section:
    """The sections of one YAML file, whatever they are.

    Raises:
        RecipeError: If it is no such file.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be read ({error.strerror}). Give a recipe file."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"{path}: must hold keys with values, got {type(content).__name__}.")
    return cast(Section, content)


def _parse_override(text: str) -> Section:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"Cannot read setting {text!r}. Expected key=value, as optimization.steps=100."
        )
    try:
        setting = yaml.load(value, Loader=_StrictLoader)
    except yaml.YAMLError:
        raise RecipeError(f"Cannot read the value of setting {text!r}.") from None
    for part in reversed(key.split(".")):
        setting = {part: setting}
    return cast(Section, setting)


def _merge(base: Section, over: Section) -> Section:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _renames(old, value):
            merged[key] = _merge(cast(Section, old), cast(Section, value))
        else:
            merged[key] = value
    return merged


def _renames(old: Mapping[object, object], new: Mapping[object, object]) -> bool:
    return "name" in new and new["name"] != old.get("name")


def refuse_unknown(
    section: Section, known: Sequence[str] | Mapping[str, object], prefix: str
) -> None:
    """Raise a RecipeError for the first key that is not known, with its section before it.

    Raises:
        RecipeError: If there is one.
    """
    for key in section:
        if key not in known:
            raise RecipeError(f"{prefix}{key} is unknown. Expected one of: {', '.join(known)}.")


class _StrictLoader(yaml.SafeLoader):
    """Refuses repeated keys, and reads 2e-3 as a number."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} is given twice (line {line}).")
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
    list("-+0123456789"),
)
