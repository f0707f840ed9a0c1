"""Pairs and quads of one's own, as JSON lines or CSV.

    {"clean": INPUT, "corrupted": INPUT, "label": "entailment", "foil": "neutral"}      a pair
    {"A": INPUT, "N": INPUT, "C": INPUT, "L": INPUT, "label": ..., "foil": ...}         a quad

INPUT is `{"premise": ..., "hypothesis": ...}`, `{"text": ...}` or `{"image": "some/picture.png"}`,
with a path that starts at the folder of the file, or a PNG as a data URI. Optional: `contrast` of
a pair (`core`, the default, or `shortcut`), `id`, `template`. Pairs with one id share the unit of
resampling, and pairs of both contrasts may stand in one file. A file holds texts or images.

CSV has the same columns. An input is then the JSON object, or plain text, or is spread over
columns such as `clean.premise` and `clean.hypothesis` (`clean_premise` is read as well).

Whether two texts are aligned depends on the tokenizer of the model that will read them, so it is
looked at there and not here. Images are opened when their pixels are asked for; here only that
their files exist is checked.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from behavior.errors import DataError
from behavior.examples import (
    CELLS,
    CONTRASTS,
    Contrast,
    Example,
    Pairs,
    Quad,
    SourceReport,
    pairs_from_quads,
)
from behavior.images import decode_data_uri, is_data_uri
from behavior.inputs import ImageInput, Input, TextInput
from behavior.rows import Row, file_digest, is_file, read_rows
from behavior.sources import SourceTask

_ENDS = ("clean", "corrupted")
_KINDS = (("premise", "hypothesis"), ("image",), ("text",))
_PARTS = tuple(part for kind in _KINDS for part in kind)


@dataclass(frozen=True, slots=True)
class _Pair:
    row: Row
    contrast: Contrast
    clean: Input
    corrupted: Input
    label: str
    foil: str
    unit: str
    template: str

    def examples(self) -> tuple[Example[Input], Example[Input]]:
        name = f"{self.unit}:{self.row.line}"
        # Changing the shortcut changes no answer, changing the core does.
        answer = self.foil if self.contrast == "core" else self.label
        return (
            Example(f"{name}.clean", self.clean, self.label, None, "clean", self.template),
            Example(f"{name}.corrupted", self.corrupted, answer, None, "corrupted", self.template),
        )


def is_quad(row: Row) -> bool:
    """Whether a row has an input in each of the four cells."""
    return all(_has_input(row, cell) for cell in CELLS)


def is_pair(row: Row) -> bool:
    """Whether a row has a clean and a corrupted input."""
    return all(_has_input(row, end) for end in _ENDS)


def read_quads(path: Path) -> SourceTask[Any]:
    """A task from a file of quads; its examples are the four cells of each.

    Raises:
        DataError: If the file or a row of it cannot be used; the message names the line.
    """
    quads: list[Quad[Input]] = []
    lines: dict[str, int] = {}
    for row in read_rows(path):
        quad = _quad(row)
        if quad.id in lines:
            raise row.error(f"id {quad.id!r} was given on line {lines[quad.id]}. Ids are unique.")
        lines[quad.id] = row.line
        quads.append(quad)
    both: dict[Contrast, Pairs[Input]] = {name: pairs_from_quads(quads, name) for name in CONTRASTS}
    return SourceTask(
        name="quads",
        source={"path": str(path), "sha256": file_digest(path)},
        items={"all": tuple(example for quad in quads for example in quad.examples())},
        reports={"quads": SourceReport(len(quads))},
        all_quads=tuple(quads),
        all_pairs=both,
    )


def read_pairs(path: Path) -> SourceTask[Any]:
    """A task from a file of pairs; its examples are their inputs, each once.

    A clean input has the label; a corrupted one the foil in the core contrast and the label in
    the shortcut contrast, where the core feature stays.

    Raises:
        DataError: If the file or a row of it cannot be used; the message names the line.
    """
    pairs = [_pair(row) for row in read_rows(path)]
    by_contrast: dict[Contrast, Pairs[Input]] = {
        contrast: _gather(contrast, [pair for pair in pairs if pair.contrast == contrast])
        for contrast in CONTRASTS
        if any(pair.contrast == contrast for pair in pairs)
    }
    return SourceTask(
        name="pairs",
        source={"path": str(path), "sha256": file_digest(path)},
        items={"all": _distinct(example for pair in pairs for example in pair.examples())},
        reports={f"{name} pairs": SourceReport(len(some)) for name, some in by_contrast.items()},
        all_pairs=by_contrast,
        limits=f"All its pairs are of the {' and '.join(by_contrast)} contrast.",
    )


def _quad(row: Row) -> Quad[Input]:
    if not is_quad(row) and is_pair(row):
        raise row.error("is a pair, but quads are expected. Put pairs in a file of their own.")
    label, foil = _classes(row)
    a, n, c, l_ = _inputs(row, CELLS)
    name = _name(row)
    return Quad(name, A=a, N=n, C=c, L=l_, label=label, foil=foil, template=_template(row))


def _pair(row: Row) -> _Pair:
    if not is_pair(row) and is_quad(row):
        raise row.error("is a quad, but pairs are expected. Put quads in a file of their own.")
    label, foil = _classes(row)
    clean, corrupted = _inputs(row, _ENDS)
    contrast = (row.optional("contrast") or "core").lower()
    if contrast not in CONTRASTS:
        raise row.error(f"unknown contrast {contrast!r}. Expected one of: {', '.join(CONTRASTS)}.")
    return _Pair(row, contrast, clean, corrupted, label, foil, _name(row), _template(row))


def _classes(row: Row) -> tuple[str, str]:
    label, foil = row.text("label"), row.text("foil")
    if label.casefold() == foil.casefold():
        raise row.error(
            f"label and foil are both {label!r}. The foil is the class that the counterfactual "
            "points to; give two different classes."
        )
    return label, foil


def _name(row: Row) -> str:
    value = row.fields.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return row.optional("id") or f"line-{row.line}"


def _template(row: Row) -> str:
    return row.optional("template") or ""


def _has_input(row: Row, role: str) -> bool:
    return row.has(role) or bool(_spread(row, role))


def _spread(row: Row, role: str) -> dict[str, object]:
    """The parts of an input that stand in columns of their own."""
    return {
        part: row.fields[column]
        for part in _PARTS
        for column in (f"{role}.{part}".casefold(), f"{role}_{part}".casefold())
        if row.has(column)
    }


def _inputs(row: Row, roles: Sequence[str]) -> list[Input]:
    inputs = [_input(row, role) for role in roles]
    if len({type(each) for each in inputs}) > 1:
        raise row.error("mixes texts and images. Give inputs of one kind.")
    return inputs


def _input(row: Row, role: str) -> Input:
    if not _has_input(row, role):
        row.text(role)
    value = row.fields.get(role.casefold()) or _spread(row, role)
    if isinstance(value, str) and row.from_table:
        value = _cell_value(row, role, value)
    if not isinstance(value, Mapping):
        raise row.error(
            f"{role!r} is {value!r}, but an input is an object: "
            '{"premise": ..., "hypothesis": ...}, {"text": ...} or {"image": ...}.'
        )
    return _read_input(row, role, cast(Mapping[str, object], value))


def _cell_value(row: Row, role: str, text: str) -> object:
    if not text.lstrip().startswith("{"):
        return {"text": text}
    try:
        return json.loads(text)
    except ValueError as error:
        raise row.error(f"{role!r} opens like JSON but is not ({error}).") from error


def _read_input(row: Row, role: str, value: Mapping[str, object]) -> Input:
    names = next((kind for kind in _KINDS if any(name in value for name in kind)), ("text",))
    unknown = sorted(set(value) - set(names))
    texts = [value.get(name) for name in names]
    if unknown or not all(isinstance(text, str) and text.strip() for text in texts):
        raise row.error(
            f"{role!r} is {dict(value)!r}. An input has a premise and a hypothesis, or a text, "
            "each with words in it, or the path of an image, and nothing else."
        )
    said = [str(text).strip() for text in texts]
    return _image(row, role, said[0]) if names == ("image",) else TextInput(*said)


def _image(row: Row, role: str, value: str) -> ImageInput:
    if is_data_uri(value):
        try:
            return ImageInput(decode_data_uri(value))
        except DataError as error:
            raise row.error(f"{role!r}: {error}") from error
    path = row.path.parent / value
    if not is_file(path):
        raise row.error(f"{role!r} is the image {value!r}, but there is no file {path}.")
    return ImageInput(path)


def _gather(contrast: Contrast, pairs: Sequence[_Pair]) -> Pairs[Input]:
    return Pairs(
        contrast=contrast,
        clean=tuple(pair.clean for pair in pairs),
        corrupted=tuple(pair.corrupted for pair in pairs),
        labels=tuple(pair.label for pair in pairs),
        foils=tuple(pair.foil for pair in pairs),
        units=tuple(pair.unit for pair in pairs),
        templates=tuple(pair.template for pair in pairs),
        steps=("",) * len(pairs),
    )


def _distinct(examples: Iterable[Example[Input]]) -> tuple[Example[Input], ...]:
    seen: dict[tuple[Input, str], Example[Input]] = {}
    for example in examples:
        seen.setdefault((example.input, example.label), example)
    return tuple(seen.values())
