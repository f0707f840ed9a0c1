"""Labelled sentence pairs from files, added to the training items in a stated share.

Two forms are read: tables with a header and JSON lines, as `behavior.nli` reads them, such as the
revisions of SNLI by people (Kaushik et al. 2020, https://arxiv.org/abs/1909.12434), and tables in
the layout of GLUE's MNLI without a header, 12 columns of which 9, 10 and 12 are premise, hypothesis
and label, as the syntactic augmentation sets have (Min et al. 2020,
https://arxiv.org/abs/2004.11999).

Labels become the student's classes by name; where it has `non-entailment` only, neutral and
contradiction are that. Rows with another label, or without a text, are dropped and counted. Of a
folder, files named for dev and test are left out: they are for measuring.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

from behavior.draws import generator, shuffled
from behavior.errors import DataError, RecipeError
from behavior.examples import Example
from behavior.inputs import TextInput
from behavior.nli import read_nli
from behavior.rows import file_digest
from distillation.checks import require
from distillation.groups import AUGMENTATION

_COLUMNS = 12
_PREMISE, _HYPOTHESIS, _LABEL = 8, 9, 11
_FORMATS = (".tsv", ".csv", ".txt", ".json", ".jsonl", ".ndjson", ".gz")
_HELD_OUT = re.compile(r"(^|[^a-z])(dev|test)([^a-z]|$)")
_NOT_ENTAILED = ("neutral", "contradiction")

Labelled = tuple[TextInput, str]


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """Labelled sentence pairs that are added to the training items; see above.

    Attributes:
        path: File, or folder of files.
        share: Number of added items, as a share of the drawn ones.
        files: Which files of a folder, as a pattern; those named for dev and test are left out.
    """

    path: str
    share: float
    files: str = "*"

    def __post_init__(self) -> None:
        require(bool(self.path), "path", "a file or a folder", self.path)
        require(self.share > 0, "share", "above 0", self.share)
        require(bool(self.files), "files", "a pattern, such as *.tsv", self.files)


@dataclass(frozen=True, slots=True)
class AugmentingItems:
    """Items that are added, and what to say of them.

    Attributes:
        examples: The items.
        record: Files with the digest of all, rows that could be used and that could not, items.
    """

    examples: tuple[Example[TextInput], ...]
    record: dict[str, object]


def read_augmentation(
    recipe: AugmentRecipe, n_drawn: int, classes: Sequence[str], seed: int
) -> AugmentingItems:
    """A random choice of rows, as many as the share says, in the order they were drawn.

    Args:
        recipe: Which files, and the share.
        n_drawn: Number of items that the share is of.
        classes: Of the student.
        seed: Of the training.

    Raises:
        RecipeError: If there are no such files, or too few rows for the share.
        DataError: If a file cannot be read.
    """
    files = _files(recipe)
    rows = [(file, row) for file in files for row in _rows(file)]
    usable = [(file, _named(row, classes)) for file, row in rows]
    kept = [(file, row) for file, row in usable if row is not None]
    wanted = max(round(recipe.share * n_drawn), 1)
    if wanted > len(kept):
        raise RecipeError(
            f"data.augment.share {recipe.share} of {n_drawn:,} items is {wanted:,}, but "
            f"{recipe.path} holds {len(kept):,} rows with labels of the student. Lower the share "
            f"to at most {len(kept) / n_drawn:.4f}."
        )
    rng: Random = generator(AUGMENTATION, 0, seed)
    examples = tuple(
        Example(f"{file.name}-{i}", text, label, group=AUGMENTATION)
        for i, (file, (text, label)) in enumerate(shuffled(kept, rng)[:wanted])
    )
    record: dict[str, object] = {
        "path": recipe.path,
        "files": [file.name for file in files],
        "sha256": _digest(files),
        "share": recipe.share,
        "n": wanted,
        "usable": len(kept),
        "dropped": len(rows) - len(kept),
    }
    return AugmentingItems(examples, record)


def _files(recipe: AugmentRecipe) -> tuple[Path, ...]:
    path = Path(recipe.path).expanduser()
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise RecipeError(f"data.augment.path is {recipe.path!r}, but there is no such file.")
    found = [
        file
        for file in sorted(path.glob(recipe.files))
        if file.is_file() and file.suffix in _FORMATS and not _HELD_OUT.search(file.stem.lower())
    ]
    files = tuple(file for file in found if _holds_pairs(file))
    if not files:
        raise RecipeError(
            f"{recipe.path} holds no file {recipe.files!r} with sentence pairs for training. Give "
            "a folder with .tsv, .csv or .jsonl files, and a pattern for them."
        )
    return files


def _holds_pairs(file: Path) -> bool:
    """Whether a file is a table or JSON lines, and not a note beside them."""
    if file.suffix != ".txt":
        return True
    with file.open(encoding="utf-8", errors="replace") as stream:
        return "\t" in stream.readline()


def _rows(file: Path) -> Iterator[Labelled | None]:
    """Text and label of each row; None for a row that lacks one of them."""
    if not _is_headless(file):
        for example in read_nli(file).examples("all"):
            yield example.input, example.label
        return
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != _COLUMNS:
                raise DataError(
                    f"{file}, line {number}: has {len(cells)} columns, but {_COLUMNS} in the "
                    "layout of MNLI are expected. Give the file a header, or mend the line."
                )
            premise, hypothesis = cells[_PREMISE].strip(), cells[_HYPOTHESIS].strip()
            whole = bool(premise and hypothesis)
            yield (TextInput(premise, hypothesis), cells[_LABEL].strip()) if whole else None


def _is_headless(file: Path) -> bool:
    if file.suffix == ".gz":
        return False
    with file.open(encoding="utf-8", errors="replace") as stream:
        cells = stream.readline().rstrip("\r\n").split("\t")
    named = {cell.strip().casefold() for cell in cells}
    return len(cells) == _COLUMNS and not named & {"sentence1", "premise"}


def _named(row: Labelled | None, classes: Sequence[str]) -> Labelled | None:
    """The row with the label as the student names it; None if it has no such class."""
    if row is None:
        return None
    known = {name.casefold(): name for name in classes}
    label = row[1].casefold()
    if label in _NOT_ENTAILED and label not in known:
        label = "non-entailment"
    return (row[0], known[label]) if label in known else None


def _digest(files: Sequence[Path]) -> str:
    return sha256("".join(file_digest(file) for file in files).encode()).hexdigest()
