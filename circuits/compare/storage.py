"""The folder of a comparison: written whole or not at all, read without unpickling.

    result.json           every number of the report, with its interval and n
    arrays.safetensors    per-example arrays, from which each of them can be recomputed
    report.html           drawn from these two files alone
    heatmaps/             head effects as interactive pages, tables and pictures

A run writes into a hidden sibling folder and renames it at the end. What a killed run leaves
behind carries its process id, and the next run to the same place removes it. No two runs write to
the same place at once (`circuits.compare.running.locking`).

`schema_version` 2 has stages with probes and after MLPs, an alignment, a diff and tests; in 1 these
said that they were not measured. Results of version 1 are read as such.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from behavior.errors import ResultError
from circuits.compare.running.locking import locked

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
RESULT = "result.json"
ARRAYS = "arrays.safetensors"

Arrays = dict[str, np.ndarray]
Json = dict[str, object]


@contextlib.contextmanager
def staged_folder(
    folder: Path,
    overwrite: bool = False,
    holds: tuple[str, str] = (RESULT, "a comparison"),
    say: Callable[[str], None] | None = None,
) -> Generator[Path]:
    """A temporary sibling that becomes `folder` when the block ends without an error.

    Args:
        folder: Where the result goes.
        overwrite: Whether an older result there is replaced.
        holds: A file by which an older result is known, and what it is called.
        say: Told in one line if a run that was to write here is found dead.

    Raises:
        ResultError: If the folder exists and may not be replaced, is being written by another run,
            or cannot be written.
    """
    target = Path(os.path.realpath(folder))
    made: list[Path] = []
    stage = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        with contextlib.ExitStack() as held:
            with writing(folder):
                made = _make_parents(target.parent)
                held.enter_context(locked(target, folder, say))
                held.callback(_discard, stage)
                _remove_stale(target)
                _refuse_existing(target, folder, overwrite, holds)
                stage.mkdir()
            yield stage
            with writing(folder):
                _put_in_place(stage, target)
    except BaseException:
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def write_result(folder: Path, result: Json, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `result.json` and `arrays.safetensors` into an existing folder.

    Raises:
        ValueError: If the result holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    # safetensors' own save_file makes files that only their owner can read.
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    (folder / ARRAYS).write_bytes(save(contiguous))


def read_result(folder: Path) -> tuple[Json, Arrays]:
    """Read what `write_result` wrote.

    Raises:
        ResultError: If the folder holds no result, a broken one, or one of another version.
    """
    if not (folder / RESULT).is_file():
        raise ResultError(
            f"{folder} holds no {RESULT}. Give a folder written by python -m circuits.compare."
        )
    try:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ResultError(
            f"The result in {folder} cannot be read ({_first_line(error)}). "
            "Run the comparison again."
        ) from None
    version = cast(Json, result).get("schema_version") if isinstance(result, dict) else None
    if version not in READABLE:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise ResultError(
            f"The result in {folder} has schema_version {version}; this version reads "
            f"{' and '.join(map(str, READABLE))}. "
            + ("Install the version that wrote it." if newer else "Run the comparison again.")
        )
    return _upgrade(cast(Json, result)), arrays


def null(reason: str, n: int = 0) -> Json:
    """A number that could not be had, as JSON."""
    return {"value": None, "reason": reason, "n": n}


@contextlib.contextmanager
def writing(folder: Path) -> Generator[None]:
    """Say in one line that a folder cannot be written: read-only, full, or no folder at all.

    Raises:
        ResultError: In place of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        raise ResultError(
            f"{folder} cannot be written ({error.strerror or _first_line(error)}). "
            "Give another folder with --out, or make room."
        ) from None
    except SafetensorError as error:
        raise ResultError(
            f"{folder} cannot be written ({_first_line(error)}). Give another folder, or make room."
        ) from None


def _upgrade(result: Json) -> Json:
    """A result of version 1 as one of version 2 that left out what 1 did not know."""
    if result["schema_version"] == SCHEMA_VERSION:
        return result
    left_out: Json = {"n_probe_quads": 0, "interventions": False}
    config = left_out | cast(Json, result["config"])
    return {**result, "schema_version": SCHEMA_VERSION, "config": config}


def _discard(stage: Path) -> None:
    """Remove a temporary folder, if it was not put in its place."""
    with _uninterrupted():
        shutil.rmtree(stage, ignore_errors=True)


def _make_parents(parent: Path) -> list[Path]:
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _refuse_existing(target: Path, shown: Path, overwrite: bool, holds: tuple[str, str]) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise ResultError(f"{shown} is a file. Give the name of a folder with --out.")
    if not overwrite:
        raise ResultError(
            f"{shown} exists. Give another folder with --out, or replace it with --overwrite."
        )
    file, kind = holds
    if not (target / file).is_file():
        raise ResultError(
            f"{shown} holds other things than {kind} (no {file}), so it is not replaced. "
            "Give another folder with --out."
        )


def _put_in_place(stage: Path, target: Path) -> None:
    """Rename, with the old folder aside for the moment between; signals wait until it is done."""
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    with _uninterrupted():
        if target.exists():
            target.rename(old)
        try:
            stage.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _remove_stale(target: Path) -> None:
    """Clear what killed runs left: their partial folders, and an old result put aside."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)\.(partial|old)")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or _alive(int(match[1])):
            continue
        if match[2] == "old" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _uninterrupted() -> Generator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
