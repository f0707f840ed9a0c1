"""Labelled NLI examples from files and data sets: HANS, MNLI, SNLI, and what looks like them.

Labels are names. A number is refused, because the order of the classes differs between sources;
only a Hugging Face data set that names its classes (`ClassLabel`) may hold numbers. Rows without
a gold label (`-`, or -1) are dropped and counted. Nothing is collapsed on the way, unless
`two_way` asks for it: neutral and contradiction then become non-entailment.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from behavior.errors import DataError
from behavior.examples import Contrast, Example, SourceReport, TextInput, pairs_from_quads
from behavior.hans import hans_pairs
from behavior.hans_quads import role_swap_quads
from behavior.rows import Row, file_digest, read_rows
from behavior.sources import SourceTask

_FIRST = ("premise", "sentence1", "text", "sentence")
_SECOND = ("hypothesis", "sentence2")
_LABEL = ("gold_label", "label")
_ID = ("pairid", "id", "idx", "index")

_UNLABELLED = "without a gold label"
_LIMITS = "It has labelled examples only; pairs and quads come from files of their own or HANS."


def read_nli(
    path: Path, name: str = "nli", *, two_way: bool = False, max_words: int | None = None
) -> SourceTask:
    """A task from JSON lines, CSV or TSV with columns for premise, hypothesis and label.

    The columns may be named `premise` or `sentence1`, `hypothesis` or `sentence2`, `label` or
    `gold_label`, as MNLI, SNLI and GLUE do. The genre, where there is one, is the group.

    Args:
        path: The file.
        name: Of the task.
        two_way: Make neutral and contradiction non-entailment.
        max_words: Drop and count the rows that have more words in premise and hypothesis together.

    Raises:
        DataError: If the file or a row of it cannot be used; the message names the line.
    """
    examples, report = _collect(read_rows(path), two_way, _nli_example)
    source: dict[str, object] = {
        "path": str(path),
        "sha256": file_digest(path),
        "two_way": two_way,
    }
    if max_words is not None:
        examples, report = _short(examples, report, max_words)
        source["max_words"] = max_words
    return SourceTask(
        name=name,
        source=source,
        items={"all": examples},
        reports={"examples": report},
        limits=_LIMITS,
    )


def read_hans(path: Path) -> SourceTask:
    """A task from a file in the format of `heuristics_evaluation_set.txt`.

    The group is the heuristic with the label; overlap points to entailment, so the entailed rows
    are the aligned ones. The pairs of the core contrast are those of `behavior.hans`.

    Raises:
        DataError: If the file or a row of it cannot be used; the message names the line.
    """
    examples, report = _collect(read_rows(path), False, _hans_example)
    pairs, pair_report = hans_pairs(examples)
    return SourceTask(
        name="hans",
        source={"path": str(path), "sha256": file_digest(path)},
        items={"all": examples},
        reports={"examples": report, "core pairs": pair_report},
        all_pairs={"core": pairs} if len(pairs) else {},
        limits="HANS has high overlap everywhere, so it has neither quads nor a shortcut contrast.",
    )


def read_hans_quads(path: Path) -> SourceTask:
    """The quads of `behavior.hans_quads` from a file in the format of HANS, with its examples.

    Raises:
        DataError: If the file or a row of it cannot be used; the message names the line.
    """
    hans = read_hans(path)
    found, report = role_swap_quads(hans.all_pairs["core"]) if hans.all_pairs else ((), None)
    reports = {} if report is None else {"quads": report}
    contrasts: tuple[Contrast, ...] = ("core", "shortcut")
    return replace(
        hans,
        name="hans-quads",
        all_quads=found,
        all_pairs={name: pairs_from_quads(found, name) for name in contrasts} if found else {},
        reports={**hans.reports, **reports},
        limits="Quads come from role-swap pairs whose nouns have another name.",
    )


def read_dataset(
    path: str, config: str | None = None, split: str | None = None, *, two_way: bool = False
) -> SourceTask:
    """A task from a Hugging Face data set: a saved folder, a folder of files, or a hub name.

    Args:
        path: Folder or hub name.
        config: Configuration of a hub data set, such as `mnli` of `nyu-mll/glue`.
        split: The one split to read; all if None.
        two_way: Make neutral and contradiction non-entailment.

    Raises:
        DataError: If `datasets` is not installed, or the data set cannot be used.
    """
    parts = _load_dataset(path, config, split)
    collected = {
        part: _collect(_dataset_rows(path, part, rows), two_way, _nli_example)
        for part, rows in parts.items()
    }
    return SourceTask(
        name="datasets",
        source={"path": path, "config": config, "split": split, "two_way": two_way},
        items={part: examples for part, (examples, _) in collected.items()},
        reports={f"examples of {part}": report for part, (_, report) in collected.items()},
        limits=_LIMITS,
    )


def is_hans(row: Row) -> bool:
    """Whether a row has the columns of a HANS file."""
    return row.has("sentence1", "sentence2", "heuristic", "subcase", "gold_label")


def is_labelled(row: Row) -> bool:
    """Whether a row has a text and a label."""
    return any(map(row.has, _FIRST)) and any(map(row.has, _LABEL))


def _collect(
    rows: Iterable[Row], two_way: bool, make: Callable[[Row, str], Example]
) -> tuple[tuple[Example, ...], SourceReport]:
    """The labelled rows as examples, with the others counted."""
    dropped: Counter[str] = Counter()
    examples: list[Example] = []
    for row in rows:
        label = _label(row, two_way)
        if label is None:
            dropped[_UNLABELLED] += 1
        else:
            examples.append(make(row, label))
    return _with_unique_ids(examples), SourceReport(len(examples), dict(dropped))


def _short(
    examples: Sequence[Example], report: SourceReport, most: int
) -> tuple[tuple[Example, ...], SourceReport]:
    """The examples of so many words at most, with the others counted."""
    if most < 1:
        raise DataError(f"max_words is {most}. Give a number of at least 1.")
    kept = tuple(example for example in examples if _n_words(example.input) <= most)
    longer = {f"of more than {most} words": len(examples) - len(kept)}
    return kept, SourceReport(len(kept), {**report.dropped, **longer})


def _n_words(text: TextInput) -> int:
    return len(text.premise.split()) + len((text.hypothesis or "").split())


def _label(row: Row, two_way: bool) -> str | None:
    number = next((row.fields[name] for name in _LABEL if row.has(name)), None)
    label = str(number) if isinstance(number, int) else row.text(*_LABEL)
    if label in ("-", "-1"):
        return None
    if label.lstrip("+-").replace(".", "", 1).isdigit():
        raise row.error(
            f"the label is the number {label}. Labels are matched by name, because the order of "
            "classes differs between sources; write names such as 'entailment'."
        )
    if two_way and label.casefold() in ("neutral", "contradiction"):
        return "non-entailment"
    return label


def _nli_example(row: Row, label: str) -> Example:
    paired = any(map(row.has, (*_SECOND, "premise", "sentence1")))
    second = row.text(*_SECOND) if paired else None
    first = row.text(*_FIRST)
    return Example(_name(row), TextInput(first, second), label, group=row.optional("genre") or "")


def _hans_example(row: Row, label: str) -> Example:
    if label not in ("entailment", "non-entailment"):
        raise row.error(f"label {label!r}. HANS has 'entailment' and 'non-entailment'.")
    subcase, template = row.text("subcase"), row.optional("template")
    return Example(
        id=_name(row),
        input=TextInput(row.text("sentence1"), row.text("sentence2")),
        label=label,
        aligned=label == "entailment",
        group=f"{row.text('heuristic')}/{label}",
        template=f"{subcase}:{template}" if template else subcase,
    )


def _name(row: Row) -> str:
    given = next((row.fields[name] for name in _ID if row.has(name)), None)
    return f"line-{row.line}" if given is None else str(given)


def _with_unique_ids(examples: list[Example]) -> tuple[Example, ...]:
    """The examples; where ids were given twice, all are numbered instead."""
    if len({example.id for example in examples}) == len(examples):
        return tuple(examples)
    return tuple(replace(example, id=f"{i}:{example.id}") for i, example in enumerate(examples))


def _load_dataset(path: str, config: str | None, split: str | None) -> dict[str, Any]:
    """The splits of a data set by name, each iterable, with `features`."""
    try:
        datasets: Any = import_module("datasets")
    except ImportError as error:
        raise DataError(
            "Data sets of the hub need the package `datasets`, which is not installed. "
            "Run: pip install 'debias-circuits[hub]'."
        ) from error
    folder = Path(path)
    saved = any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        loaded = datasets.load_from_disk(path) if saved else datasets.load_dataset(path, config)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: cannot be read as a data set ({reason}). Expected a folder that `datasets` "
            "saved, a folder of parquet, CSV or JSON files, or a name on the hub."
        ) from error
    parts: dict[str, Any] = dict(loaded) if isinstance(loaded, Mapping) else {"all": loaded}
    if split is not None and split not in parts:
        raise DataError(f"{path}: there is no split {split!r}. It has: {', '.join(parts)}.")
    return parts if split is None else {split: parts[split]}


def _dataset_rows(path: str, split: str, rows: Any) -> Iterator[Row]:
    names: dict[str, list[str]] = {
        column: feature.names
        for column, feature in rows.features.items()
        if hasattr(feature, "names")
    }
    for line, fields in enumerate(rows, 1):
        named = {
            column.casefold(): _class_name(names[column], value) if column in names else value
            for column, value in fields.items()
        }
        yield Row(Path(path, split), line, named)


def _class_name(names: Sequence[str], value: int | None) -> str:
    return "-" if value is None or value < 0 else names[value]
