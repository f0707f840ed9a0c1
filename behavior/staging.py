"""A result folder that is written whole or not at all.

A run writes into a hidden sibling folder and renames it at the end. What a killed run leaves
behind carries its process id, and the next run to the same place removes it. No two runs write to
the same place at once (`behavior.locking`).
"""

import contextlib
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from safetensors import SafetensorError

from behavior.errors import ResultError
from behavior.locking import locked


@contextlib.contextmanager
def staged_folder(
    folder: Path,
    overwrite: bool = False,
    holds: tuple[str, str] = ("result.json", "a comparison"),
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
