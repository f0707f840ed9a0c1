"""A result folder that is written whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from behavior.errors import ResultError

RESULT = "result.json"
KIND = "probes"


@contextlib.contextmanager
def whole_folder(folder: Path, overwrite: bool) -> Generator[Path]:
    """A temporary sibling that becomes `folder` when the block ends without an error.

    Raises:
        ResultError: If the folder exists and may not be replaced, or cannot be written.
    """
    target = Path(os.path.realpath(folder))
    _refuse_existing(target, folder, overwrite)
    stage = target.parent / f".{target.name}.{os.getpid()}.partial"
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    missing = [path for path in target.parents if not path.exists()]
    try:
        stage.mkdir(parents=True)
        yield stage
        if target.exists():
            target.rename(old)
        stage.rename(target)
    except OSError as error:
        raise ResultError(
            f"{folder} cannot be written ({error.strerror or error}). Give another folder with "
            "--out, or make room."
        ) from None
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (stage, old):
            shutil.rmtree(left, ignore_errors=True)
        if not target.exists():
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _refuse_existing(target: Path, shown: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise ResultError(f"{shown} is a file. Give the name of a folder with --out.")
    if not overwrite:
        raise ResultError(
            f"{shown} exists. Give another folder with --out, or replace it with --overwrite."
        )
    result = target / RESULT
    if not result.is_file() or f'"kind": "{KIND}"' not in result.read_text("utf-8")[:200]:
        raise ResultError(
            f"{shown} holds other things than probes, so it is not replaced. Give another folder "
            "with --out."
        )
