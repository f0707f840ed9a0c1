"""Tensors with a JSON header in one safetensors file; never a pickle.

Files are written under a temporary name and renamed, so that no half file is left behind.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from behavior.errors import ResultError

FORMAT_VERSION = 1


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
