"""Folders of runs: never half-finished, resumed by the same command.

A training works in `OUT.partial` and its finished folder is moved to `OUT` in one step, so
whatever stands at `OUT` is whole. `OUT.partial` remembers the request it was made for and is
never continued for another one, and one training at a time works there.
"""

import contextlib
import json
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import cast

from behavior.errors import RecipeError, ResultError
from behavior.locking import locked
from behavior.rows import file_digest
from distillation.recipe import Recipe

RECORD = "training.json"
WEIGHTS = "model.safetensors"
FINISHED = "finished"
CHECKPOINTS = "checkpoints"
LOGITS = ".logits"
_REQUEST = "request.json"
_DIGESTS = {"files": "content of {}", "parent_settings": "config or tokenizer of {!r}"}
"""Keys of a request that hold a digest by name, and what has changed if one differs."""


def run_folder(runs: Path, recipe: str, seed: int) -> Path:
    """Where a run lies among others: `RUNS/<recipe>/seed-<K>`."""
    return runs / recipe / f"seed-{seed}"


def partial_folder(out: Path) -> Path:
    """Where a training works until its folder is finished."""
    return out.with_name(f"{out.name}.partial")


def logits_folder(out: Path, recipe: str, seed: int) -> Path | None:
    """Where the logits of teachers are kept: beside the runs, if `out` lies among runs."""
    runs = out.parent.parent
    return runs / LOGITS if out == run_folder(runs, recipe, seed) else None


def find_parents(
    recipe: Recipe, seed: int, out: Path, given: Mapping[str, Path]
) -> dict[str, Path]:
    """Folders of the models a recipe needs, by recipe name: as given, or among the runs of `out`.

    Raises:
        RecipeError: If one is not there, with what makes it.
    """
    parents: dict[str, Path] = {}
    runs = out.parent.parent
    for name in recipe.parents:
        folder = given.get(name, run_folder(runs, name, seed))
        if not (folder / WEIGHTS).is_file():
            raise RecipeError(
                f"Recipe {recipe.name!r} needs a trained {name!r}, but {folder} holds no "
                f"{WEIGHTS}. {_how_to_train(name, seed, runs)}{_how_to_give(name, recipe)}."
            )
        parents[name] = folder
    return parents


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights file of a model folder."""
    return file_digest(folder / WEIGHTS)


def read_record(folder: Path) -> dict[str, object]:
    """What `training.json` of a finished folder says.

    Raises:
        ResultError: If the folder is no finished training.
    """
    record = _read(folder / RECORD)
    if record is None:
        raise ResultError(f"{folder} holds no readable {RECORD}, so it is no finished training.")
    return record


def is_finished(out: Path, request: Mapping[str, object]) -> bool:
    """Whether this very training already stands at a folder.

    Raises:
        ResultError: If something else stands there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    record = _read(out / RECORD)
    if record is None:
        raise ResultError(f"{out} exists and is no finished training. Choose another --out.")
    changed = _changed(request, record)
    if changed:
        raise ResultError(
            f"{out} holds a training with another {changed[0]}. Choose another --out, or remove it."
        )
    return True


@contextlib.contextmanager
def held(out: Path) -> Generator[None]:
    """Keep other trainings away from a folder and its working folder.

    A training whose machine was lost is taken up on another one, so a lock that nobody holds is
    taken over whatever host left it.

    Raises:
        ResultError: If another training works there, or nothing can be written.
    """
    with contextlib.ExitStack() as lock:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            lock.enter_context(locked(out, out, from_any_host=True))
        except OSError as error:
            raise _unwritable(out, error) from error
        yield


def open_partial(out: Path, request: Mapping[str, object]) -> Path:
    """The working folder for a request, new or as an interrupted run left it.

    Raises:
        ResultError: If it was left by another request, or cannot be written.
    """
    partial = partial_folder(out)
    left = _read(partial / _REQUEST)
    changed = [] if left is None else _changed(request, left)
    changed += sorted((left or {}).keys() - request.keys() - _DIGESTS.keys())
    if changed:
        raise ResultError(
            f"{partial} was left by an unfinished training with another {changed[0]}. "
            "Remove it, or choose another --out."
        )
    try:
        partial.mkdir(parents=True, exist_ok=True)
        if left is None:
            write_json(partial / _REQUEST, request)
    except OSError as error:
        raise _unwritable(partial, error) from error
    return partial


def last_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end; its state file comes last."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    whole = [path for path in found if _read(path / "trainer_state.json") is not None]
    return str(whole[-1]) if whole else None


def finish(partial: Path, out: Path) -> None:
    """Move the finished folder to its place in one step and remove the working folder."""
    (partial / FINISHED).rename(out)
    shutil.rmtree(partial)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON beside its place and move it there, so that a reader never sees half of it."""
    staged = path.with_name(f"{path.name}.new")
    staged.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    staged.rename(path)


def _unwritable(folder: Path, error: OSError) -> ResultError:
    return ResultError(f"Cannot write {folder}: {error.strerror}. Choose another --out.")


def _read(path: Path) -> dict[str, object] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _how_to_train(name: str, seed: int, runs: Path) -> str:
    if "+" in name:
        return (
            f"It is a variant from a grid file: first run `python -m distillation.grid GRID.yaml "
            f"--recipes {name} --seeds {seed} --runs {runs}` with the file that makes it"
        )
    return (
        f"First run `python -m distillation.train FOLDER/{name}.yaml --seed {seed} --out "
        f"{run_folder(runs, name, seed)}` with the folder of its recipe"
    )


def _how_to_give(name: str, recipe: Recipe) -> str:
    if name == recipe.teacher:
        return ", or give its folder with --teacher"
    if recipe.start is not None and name == recipe.start.recipe:
        return ", or give its folder with --start"
    return "; it is looked for there alone"


def _changed(request: Mapping[str, object], stored: Mapping[str, object]) -> list[str]:
    """What differs, in words.

    Of the digests by name only those that both sides have are compared: what an earlier record,
    which has none of them, does not say cannot be compared, nor a file that is not here any more.
    """
    asked = cast(dict[str, object], json.loads(json.dumps(request)))
    pairs = {key: (value, stored.get(key)) for key, value in asked.items() if key not in _DIGESTS}
    changed = [
        key for key, (one, other) in pairs.items() if _undescribed(one) != _undescribed(other)
    ]
    for key, words in _DIGESTS.items():
        ours, theirs = (cast(dict[str, str], each.get(key, {})) for each in (asked, stored))
        changed += [
            words.format(name)
            for name, digest in ours.items()
            if digest != theirs.get(name, digest)
        ]
    return changed


def _undescribed(value: object) -> object:
    """A recipe without its description, which changes nothing that is trained."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key != "description"}
