"""Digests of the files that a recipe names: with other contents it is another training."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import cast

from behavior.rows import file_digest
from distillation.families import PretrainedRecipe
from distillation.recipe import Recipe
from distillation.teacher_cache import teacher_digest

_ALL_FILES = "**/*"


def file_digests(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of each file or folder that a recipe names, by its path as written there.

    Left out is what is not here, such as data or networks of the hub.
    """
    found = {path: _digest(path, pattern) for path, pattern in _named_files(recipe)}
    if isinstance(recipe.model, PretrainedRecipe) and Path(recipe.model.source).is_dir():
        found[recipe.model.source] = teacher_digest(Path(recipe.model.source))
    return {path: digest for path, digest in found.items() if digest is not None}


def _named_files(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Paths, and which files count if they are folders."""
    augment, bias = recipe.data.augment, recipe.bias_model
    if augment is not None:
        yield augment.path, augment.files
    if bias is not None and bias.path is not None:
        yield bias.path, _ALL_FILES
    for path in _paths(recipe.data.options):
        yield path, _ALL_FILES


def _paths(options: object) -> Iterator[str]:
    """Whatever stands under `path`, in the parts of a mixture too."""
    if isinstance(options, Mapping):
        for key, value in cast(Mapping[str, object], options).items():
            if key == "path" and isinstance(value, str):
                yield value
            else:
                yield from _paths(value)
    elif isinstance(options, list | tuple):
        for part in cast(Sequence[object], options):
            yield from _paths(part)


def _digest(path: str, pattern: str) -> str | None:
    """Of a file, or of names and contents in a folder; None if there is nothing to be read."""
    try:
        named = Path(path).expanduser()
        if not named.is_dir():
            return _content(named)
        files = {file.relative_to(named): file for file in sorted(named.glob(pattern))}
        lines = [
            f"{name.as_posix()}\0{_content(file)}\n"
            for name, file in files.items()
            # What is hidden is of the system and of editors, not of the data.
            if file.is_file() and not any(part.startswith(".") for part in name.parts)
        ]
    except (OSError, RuntimeError):
        return None
    return sha256("".join(lines).encode()).hexdigest()


def _content(file: Path) -> str:
    about = file.stat()
    return _content_as_of(file, about.st_mtime_ns, about.st_size)


@cache
def _content_as_of(file: Path, changed: int, size: int) -> str:
    """Each version of a file is read once: a grid asks for every run."""
    return file_digest(file)
