"""Tensors with a JSON header in one safetensors file; never a pickle.

Files are written under a temporary name and renamed, so that no half file is left behind.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from behavior.errors import ResultError

FORMAT_VERSION = 1

RecordT = TypeVar("RecordT")


def write_record(record: Any, path: Path, kind: str) -> Path:
    """Write a dataclass: its tensors as they are, all else as JSON; returns the path.

    Raises:
        ResultError: If the file cannot be written.
    """
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    about = {name: value for name, value in values.items() if name not in tensors}
    return write_tensors(path, tensors, about, kind)


def read_record(record_type: type[RecordT], path: Path, kind: str) -> RecordT:
    """What `write_record` wrote; sequences become tuples.

    Raises:
        ResultError: If the file is missing, broken, or of another kind or version.
    """
    tensors, about = read_tensors(path, kind)
    values = {name: _as_tuple(value) for name, value in about.items()}
    try:
        return record_type(**values, **tensors)
    except TypeError as error:
        raise ResultError(f"{path} holds no {kind} of this version.") from error


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object], kind: str
) -> Path:
    """Write tensors and what is to be known about them; returns the path.

    Raises:
        ResultError: If the file cannot be written.
    """
    header = {"kind": kind, "format_version": str(FORMAT_VERSION), "about": json.dumps(about)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata=header)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise ResultError(f"Cannot write {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header that `write_tensors` wrote.

    Raises:
        ResultError: If the file is missing, broken, or of another kind or version.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            header = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ResultError(f"Cannot read {path} as stored {kind}: {error}.") from error
    found = header.get("kind"), header.get("format_version")
    if found != (kind, str(FORMAT_VERSION)):
        raise ResultError(
            f"{path} holds {found[0] or 'no header'} of version {found[1]}; expected {kind} of "
            f"version {FORMAT_VERSION}."
        )
    return tensors, json.loads(header["about"])


def _as_tuple(value: object) -> object:
    """JSON knows no tuples; what is in an object stays as it is."""
    if isinstance(value, list):
        return tuple(_as_tuple(entry) for entry in cast("list[object]", value))
    return value
