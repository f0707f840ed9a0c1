"""The folder of a comparison: written whole or not at all, read without unpickling.

    result.json           every number of the report, with its interval and n
    arrays.safetensors    per-example arrays, from which each of them can be recomputed
    report.html           drawn from these two files alone
    heatmaps/             head effects as interactive pages, tables and pictures

`schema_version` 2 has stages with probes and after MLPs, an alignment, a diff and tests; in 1 these
said that they were not measured. Results of version 1 are read as such.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from behavior.errors import ResultError

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
RESULT = "result.json"
ARRAYS = "arrays.safetensors"

Arrays = dict[str, np.ndarray]
Json = dict[str, object]


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


def _upgrade(result: Json) -> Json:
    """A result of version 1 as one of version 2 that left out what 1 did not know."""
    if result["schema_version"] == SCHEMA_VERSION:
        return result
    left_out: Json = {"n_probe_quads": 0, "interventions": False}
    config = left_out | cast(Json, result["config"])
    return {**result, "schema_version": SCHEMA_VERSION, "config": config}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
