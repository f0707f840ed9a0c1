"""Reads recipes, strictly: what is unknown, of a wrong type or missing is named with its file."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from behavior.errors import RecipeError
from distillation.bias_models import BIAS_MODELS
from distillation.families import FAMILIES, ModelRecipe
from distillation.objectives import OBJECTIVES, Objective
from distillation.objectives.terms import TERMS, Term
from distillation.recipe import (
    BiasModelRecipe,
    DataRecipe,
    OptimizationRecipe,
    Recipe,
    SelectionRecipe,
    StartRecipe,
)
from distillation.recipe_yaml import Section, read_settings, recipe_paths, refuse_unknown

T = TypeVar("T")

_SECTIONS: dict[str, type] = {
    "data": DataRecipe,
    "optimization": OptimizationRecipe,
    "start": StartRecipe,
    "selection": SelectionRecipe,
}
_NEEDED = ("description", "data", "model", "optimization", "objective")
_KEYS = (*_NEEDED, "start", "teacher", "bias_model", "selection")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with `section.key=value` settings laid over it.

    Raises:
        RecipeError: If the file or a setting cannot be used, naming file and key.
    """
    settings = read_settings(path, overrides)
    try:
        return _build_recipe(path.stem, settings)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def list_recipes(folder: Path) -> dict[str, Recipe]:
    """All recipes of a folder by name.

    Raises:
        RecipeError: If the folder holds none, or one of them cannot be used.
    """
    return {path.stem: load_recipe(path) for path in recipe_paths(folder)}


def _build_recipe(name: str, settings: Section) -> Recipe:
    refuse_unknown(settings, _KEYS, "")
    sections = {
        key: None if settings.get(key) is None else _build(kind, settings[key], key)
        for key, kind in _SECTIONS.items()
    }
    sections["selection"] = sections["selection"] or SelectionRecipe()
    values: Section = {
        "description": _convert(settings.get("description"), str | None, "description"),
        "teacher": _convert_teacher(settings.get("teacher")),
    }
    values["bias_model"] = _build_bias_model(settings.get("bias_model"))
    absent = [key for key in _NEEDED if settings.get(key) is None]
    if absent:
        raise RecipeError(f"{absent[0]} is missing.")
    model = _build_model(settings["model"])
    objective = _build_objective(settings["objective"])
    return Recipe(name=name, model=model, objective=objective, **sections, **values)  # pyright: ignore[reportArgumentType]


def _convert_teacher(value: object) -> str | tuple[str, ...] | None:
    """The name of one recipe, or a list of names; a list of one is the one."""
    if not isinstance(value, list):
        return cast("str | None", _convert(value, str | None, "teacher"))
    names = cast("tuple[str, ...]", _convert(value, tuple[str, ...], "teacher"))
    if not names or len(set(names)) < len(names):
        raise RecipeError(f"teacher must be one recipe or several different ones, got {value!r}.")
    return names[0] if len(names) == 1 else names


def _build_bias_model(settings: object) -> BiasModelRecipe | None:
    if settings is None:
        return None
    section = {"name": settings} if isinstance(settings, str) else settings
    built = _build(BiasModelRecipe, section, "bias_model")
    if built.name not in BIAS_MODELS:
        raise RecipeError(f"bias_model must be one of {_names(BIAS_MODELS)}, got {built.name!r}.")
    return built


def _build_model(settings: object) -> ModelRecipe:
    family = cast(Section, settings).get("family", "bert") if isinstance(settings, dict) else "bert"
    if not isinstance(family, str) or family not in FAMILIES:
        raise RecipeError(f"model.family must be one of {_names(FAMILIES)}, got {family!r}.")
    return _build(FAMILIES[family], settings, "model")


def _build_objective(settings: object) -> Objective:
    if not isinstance(settings, dict) or "name" not in settings:
        raise RecipeError(f"objective needs a name: one of {_names(OBJECTIVES)}.")
    values = dict(cast(Section, settings))
    name = values.pop("name")
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise RecipeError(f"objective.name must be one of {_names(OBJECTIVES)}, got {name!r}.")
    return _build(OBJECTIVES[name], values, "objective")


def _build_term(settings: object, where: str) -> Term:
    if not isinstance(settings, dict) or "name" not in settings:
        raise RecipeError(f"{where} needs a name: one of {_names(TERMS)}.")
    values = dict(cast(Section, settings))
    name = values.pop("name")
    if not isinstance(name, str) or name not in TERMS:
        raise RecipeError(f"{where}.name must be one of {_names(TERMS)}, got {name!r}.")
    return _build(TERMS[name], values, where)


def _build(kind: type[T], settings: object, where: str) -> T:
    if not isinstance(settings, dict):
        raise RecipeError(f"{where} must hold keys with values, got {settings!r}.")
    section = cast(Section, settings)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    refuse_unknown(section, known, f"{where}.")
    for name, field in known.items():
        if name not in section and field.default is MISSING and field.default_factory is MISSING:
            raise RecipeError(f"{where}.{name} is missing.")
    values = {
        name: _convert(value, hints[name], f"{where}.{name}") for name, value in section.items()
    }
    try:
        return kind(**values)
    except RecipeError as error:
        raise RecipeError(f"{where}.{error}") from None


def _convert(value: object, kind: object, where: str) -> object:
    """Check a YAML value against a type; whole numbers are taken as floats, lists as tuples."""
    origin, parameters = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in parameters:
            return None
        return _convert(value, next(p for p in parameters if p is not NoneType), where)
    if origin is tuple:
        return _convert_list(value, parameters, where)
    if origin is Literal:
        if value not in parameters:
            raise RecipeError(f"{where} must be one of {_names(parameters)}, got {value!r}.")
        return value
    if origin is dict:
        return _expect(value, dict, "keys with values", where)
    if kind is Term:
        return _build_term(value, where)
    if is_dataclass(kind):
        return _build(cast(type, kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return _expect(value, cast(type, kind), words[cast(type, kind)], where)


def _convert_list(value: object, parameters: tuple[object, ...], where: str) -> tuple[object, ...]:
    items = cast(list[object], _expect(value, list, "a list", where))
    if parameters[-1] is Ellipsis:
        parameters = (parameters[0],) * len(items)
    if len(items) != len(parameters):
        raise RecipeError(f"{where} must be a list of {len(parameters)}, got {items!r}.")
    pairs = enumerate(zip(items, parameters, strict=True))
    return tuple(_convert(item, kind, f"{where}[{i}]") for i, (item, kind) in pairs)


def _expect(value: object, kind: type, words: str, where: str) -> object:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RecipeError(f"{where} must be {words}, got {value!r}.")
    return value


def _names(names: Sequence[object] | Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in names)
