"""A table of probabilities as bias model: made elsewhere, one row per training item.

A JSONL file has one object a line, `{"id": "...", "entailment": 0.9, "non-entailment": 0.1}`, a CSV
file the same columns. Every class has its column; other columns are left alone.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Example

_TOLERANCE = 1e-3
_SMALLEST = 1e-6
"""A probability of 0 would make a logarithm without end."""


def read_probabilities(path: Path, classes: Sequence[str]) -> dict[str, list[float]]:
    """Probabilities of the classes by id of the example.

    Raises:
        DataError: If the file cannot be read, an id comes twice, a column is missing, or numbers
            are no probabilities that sum to 1.
    """
    table: dict[str, list[float]] = {}
    for number, row in enumerate(_rows(path), start=1):
        where = f"{path}, row {number}"
        name = str(row.get("id", ""))
        if not name:
            raise DataError(f"{where}: has no id. Give the id of the example it is about.")
        if name in table:
            raise DataError(f"{where}: {name!r} was given before. Give each example once.")
        table[name] = _probabilities(row, classes, where)
    return table


def look_up(
    table: Mapping[str, Sequence[float]], examples: Sequence[Example[Any]], path: Path
) -> Float[Tensor, "item n_classes"]:
    """Log-probabilities of examples.

    Raises:
        DataError: If an example is not in the table.
    """
    absent = [example.id for example in examples if example.id not in table]
    if absent:
        raise DataError(
            f"{path} has no row for {len(absent)} of {len(examples)} training items, such as "
            f"{absent[0]!r}. Give a row for each."
        )
    found = torch.tensor([table[example.id] for example in examples])
    return found.clamp_min(_SMALLEST).log().log_softmax(-1)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            if path.suffix == ".csv":
                yield from csv.DictReader(lines)
            else:
                yield from (json.loads(line) for line in lines if line.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise DataError(f"{path}: is no table of JSON lines or CSV ({error}).") from None


def _probabilities(row: Mapping[str, Any], classes: Sequence[str], where: str) -> list[float]:
    absent = [name for name in classes if row.get(name) is None]
    if absent:
        raise DataError(f"{where}: has no column {absent[0]!r}. Give one for each class.")
    try:
        values = [float(row[name]) for name in classes]
    except (TypeError, ValueError):
        raise DataError(f"{where}: {[row[name] for name in classes]} are no numbers.") from None
    fine = all(0 <= value <= 1 for value in values)
    if not fine or not math.isclose(sum(values), 1, abs_tol=_TOLERANCE):
        raise DataError(f"{where}: {values} are no probabilities that sum to 1.")
    return values
