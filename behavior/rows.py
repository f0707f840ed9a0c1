"""Rows of a file, whatever its dress: JSON lines, comma- or tab-separated, plain or gzipped.

What a file is, is decided by what stands in it: a first line that opens with a brace is JSON, a
tab in the header makes it tab-separated (quotes are then plain characters, as in the GLUE and
HANS files), anything else is CSV. Column names are compared without regard to case. Every error
names the file and the line.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import cast

from behavior.errors import DataError

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and where it stands.

    Attributes:
        path: The file.
        line: Line number, counted from 1; of several, the last.
        fields: Values by case-folded column name; text, except in JSON lines.
        from_table: Whether the row stood in a table, where everything is text.
    """

    path: Path
    line: int
    fields: Mapping[str, object]
    from_table: bool = False

    def error(self, problem: str) -> DataError:
        """The problem with its file and line, to be raised."""
        return DataError(f"{self.path}, line {self.line}: {problem}")

    def columns(self) -> str:
        """The names of the fields, for a message; the first ten of many."""
        names = [repr(name) for name in self.fields]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        return ", ".join(names[:10]) + more if names else "nothing"

    def has(self, *names: str) -> bool:
        """Whether all these fields are there and not empty."""
        return all(self.fields.get(name.casefold()) not in (None, "") for name in names)

    def text(self, *names: str) -> str:
        """Text of the first of these fields that is there.

        Raises:
            DataError: If none is there, or it is not text, or blank.
        """
        value = self.optional(*names)
        if value is None:
            wanted = " or ".join(repr(name) for name in names)
            raise self.error(f"{wanted} is missing or empty. Found: {self.columns()}.")
        return value

    def optional(self, *names: str) -> str | None:
        """Text of the first of these fields that is there and not blank, or None.

        Raises:
            DataError: If it is not text.
        """
        for name in names:
            value = self.fields.get(name.casefold())
            if value is not None and not isinstance(value, str):
                raise self.error(f"{name!r} is {value!r}, but text is expected.")
            if value is not None and value.strip():
                return value.strip()
        return None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, one at a time.

    Raises:
        DataError: If the file cannot be read, is empty, or a row is broken.
    """
    lines = _lines(path)
    blank: list[str] = []
    for line in lines:
        blank.append(line)
        if line.strip():
            break
    else:
        raise DataError(f"{path}: is empty. Expected JSON lines, or CSV with a header.")
    whole = chain(blank, lines)
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    is_json = suffix.lower() in _JSON_SUFFIXES or blank[-1].lstrip()[0] in "[{"
    rows = _json_rows(path, whole) if is_json else _table_rows(path, whole, "\t" in blank[-1])
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: has a header but no rows below it. Add rows.")
    yield first
    yield from rows


def file_digest(path: Path) -> str:
    """SHA-256 of the file as it is on disk, in hexadecimal."""
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _lines(path: Path) -> Iterator[str]:
    line = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for line, raw in enumerate(stream, 1):
                yield raw.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {line}: is not UTF-8 text. Save it as UTF-8.") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file. Check the path.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Check the file.") from error


def _json_rows(path: Path, lines: Iterator[str]) -> Iterator[Row]:
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Row(path, line, {}).error(
                f"is not JSON ({error}). Expected one object a line."
            ) from error
        if not isinstance(value, dict):
            raise Row(path, line, {}).error(
                f"holds a JSON {type(value).__name__}. Expected one object a line."
            )
        fields = cast(dict[str, object], value)
        yield Row(path, line, {name.casefold(): entry for name, entry in fields.items()})


def _table_rows(path: Path, lines: Iterator[str], tabs: bool) -> Iterator[Row]:
    reader = (
        csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tabs
        else csv.reader(lines, strict=True)
    )
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header:
                yield _table_row(Row(path, reader.line_num, {}, True), header, cells)
            else:
                header = _header(Row(path, reader.line_num, {}), cells)
    except csv.Error as error:
        raise Row(path, reader.line_num, {}).error(f"is broken ({error}). Check quotes.") from error


def _header(row: Row, cells: list[str]) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise row.error(
            f"two columns are named {twice[0]!r}. The first line names the columns, each once."
        )
    return names


def _table_row(row: Row, header: list[str], cells: list[str]) -> Row:
    if len(cells) > len(header):
        raise row.error(
            f"has {len(cells)} columns, but the header has {len(header)}. In CSV, put text that "
            "holds a comma in double quotes."
        )
    return replace(row, fields=dict(zip(header, cells, strict=False)))
