"""Pairs and quads from files: what is read, and what is said about a file that cannot be."""

import csv
import gzip
import json
import random
from pathlib import Path

import pytest

from behavior.errors import DataError
from behavior.examples import CELLS, TextInput
from behavior.sources import choose
from behavior.tasks import load_task, open_examples


def nli(premise: str, hypothesis: str) -> dict[str, str]:
    return {"premise": premise, "hypothesis": hypothesis}


def quad(i: int, **changes: object) -> dict[str, object]:
    cells = {cell: nli(f"premise {i}", f"claim {i} {cell}") for cell in CELLS}
    return {**cells, "id": f"q{i}", "label": "entailment", "foil": "neutral", **changes}


def pair(i: int, **changes: object) -> dict[str, object]:
    return {
        "clean": nli(f"premise {i}", f"good {i}"),
        "corrupted": nli(f"premise {i}", f"bad {i}"),
        "label": "entailment",
        "foil": "neutral",
        **changes,
    }


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_quads_keep_their_cells_labels_and_templates(tmp_path: Path) -> None:
    task = open_examples(jsonl(tmp_path / "q.jsonl", [quad(0, template="swap"), quad(1)]))
    assert (task.name, task.has_quads, task.n_quads, task.labels) == (
        "quads",
        True,
        2,
        ("entailment", "neutral"),
    )
    first, second = task.quads(2)
    assert TextInput("premise 0", "claim 0 C") == first.C
    assert (first.id, first.template, second.template) == ("q0", "swap", "")


def test_examples_of_quads_are_their_four_cells(tmp_path: Path) -> None:
    task = open_examples(jsonl(tmp_path / "q.jsonl", [quad(0)]))
    truth = {example.group: (example.label, example.aligned) for example in task.examples("all")}
    assert truth == {
        "A": ("entailment", True),
        "N": ("entailment", False),
        "C": ("neutral", False),
        "L": ("neutral", True),
    }


def test_quads_give_both_contrasts_with_the_quad_as_unit(tmp_path: Path) -> None:
    task = open_examples(jsonl(tmp_path / "q.jsonl", [quad(i) for i in range(5)]))
    for contrast in ("core", "shortcut"):
        pairs = task.pairs(contrast, n=10)
        assert task.n_pairs(contrast) == 10
        assert sorted(pairs.units) == sorted(2 * [f"q{i}" for i in range(5)])


def test_pairs_may_mix_contrasts_and_share_units(tmp_path: Path) -> None:
    rows = [pair(0, id="u"), pair(1, id="u"), pair(2, contrast="shortcut", id=7), pair(3)]
    task = open_examples(jsonl(tmp_path / "p.jsonl", rows))
    assert not task.has_quads
    assert task.pairs("core", n=3).units == ("u", "u", "line-4")
    assert task.pairs("shortcut", n=1).units == ("7",)
    assert [str(report) for report in task.reports.values()] == [
        "3 kept, 0 dropped",
        "1 kept, 0 dropped",
    ]


def test_corrupted_input_has_the_foil_in_the_core_contrast_only(tmp_path: Path) -> None:
    task = open_examples(jsonl(tmp_path / "p.jsonl", [pair(0), pair(1, contrast="shortcut")]))
    assert [example.label for example in task.examples("all")] == [
        "entailment",
        "neutral",
        "entailment",
        "entailment",
    ]


def test_input_that_stands_in_two_pairs_is_one_example(tmp_path: Path) -> None:
    rows = [pair(0), pair(0, corrupted=nli("premise 0", "worse"))]
    examples = list(open_examples(jsonl(tmp_path / "p.jsonl", rows)).examples("all"))
    assert len(examples) == 3
    assert len({example.id for example in examples}) == 3


def test_single_texts_are_read_as_well(tmp_path: Path) -> None:
    row = pair(0, clean={"text": "a fine film"}, corrupted={"text": "a poor film"})
    assert open_examples(jsonl(tmp_path / "p.jsonl", [row])).pairs("core", 1).clean == (
        TextInput("a fine film"),
    )


@pytest.mark.parametrize("join", [".", "_"])
def test_csv_with_columns_for_the_parts_equals_jsonl(tmp_path: Path, join: str) -> None:
    flat = [
        {f"{cell}{join}{part}": text for cell in CELLS for part, text in row[cell].items()}
        | {name: row[name] for name in ("id", "label", "foil")}
        for row in (quad(0), quad(1))
    ]
    spread = open_examples(table(tmp_path / "q.csv", flat))
    whole = open_examples(jsonl(tmp_path / "q.jsonl", [quad(0), quad(1)]))
    assert spread.quads(2) == whole.quads(2)


def test_csv_with_json_or_text_in_a_cell_is_read(tmp_path: Path) -> None:
    row = pair(0, corrupted="just text")
    row["clean"] = json.dumps(nli("a, b", 'say "c"'))
    pairs = open_examples(table(tmp_path / "p.csv", [row])).pairs("core", 1)
    assert pairs.clean == (TextInput("a, b", 'say "c"'),)
    assert pairs.corrupted == (TextInput("just text"),)


def test_gzip_byte_order_mark_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    text = "\ufeff\n" + "\n\n".join(json.dumps(pair(i)) for i in range(3)) + "\n\n"
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8")))
    assert open_examples(path).n_pairs("core") == 3


def test_subset_does_not_depend_on_order_and_grows_with_n(tmp_path: Path) -> None:
    rows = [quad(i) for i in range(40)]
    task = open_examples(jsonl(tmp_path / "q.jsonl", rows))
    random.Random(0).shuffle(rows)
    shuffled = open_examples(jsonl(tmp_path / "s.jsonl", rows))
    drawn = {q.id for q in task.quads(10, seed=3)}
    assert drawn == {q.id for q in shuffled.quads(10, seed=3)}
    assert drawn < {q.id for q in task.quads(20, seed=3)}
    assert drawn != {q.id for q in task.quads(10, seed=4)}


def test_pairs_of_one_unit_are_drawn_together() -> None:
    units = [f"u{i // 2}" for i in range(40)]
    chosen = choose(units, 10, seed=1)
    assert len({units[i] for i in chosen}) == 5
    assert chosen == sorted(chosen)


def test_all_are_given_when_n_is_none(tmp_path: Path) -> None:
    task = load_task("quads", path=jsonl(tmp_path / "q.jsonl", [quad(i) for i in range(3)]))
    assert len(task.quads(None)) == 3
    assert len(task.pairs("core", None)) == 6
    assert len(list(task.examples("all", n=100))) == 12


def test_description_identifies_the_file(tmp_path: Path) -> None:
    first = open_examples(jsonl(tmp_path / "a.jsonl", [pair(0)])).describe()
    second = open_examples(jsonl(tmp_path / "b.jsonl", [pair(1)])).describe()
    assert first["sha256"] != second["sha256"]
    assert first["pairs"] == {"core": 1}
    assert json.loads(json.dumps(first)) == first


IMAGE = {"image": "cat.png"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([pair(0), "{oops"], r"line 2: is not JSON.*one object a line"),
        ([[1, 2]], r"line 1: holds a JSON list.*one object a line"),
        ([pair(0), pair(1, clean="text")], r"line 2: 'clean' is 'text'.*an object"),
        ([pair(0), pair(1, corrupted=None)], r"line 2: 'corrupted' is missing or empty.*'clean'"),
        ([pair(0), pair(1, clean={"premise": "p"})], r"line 2: 'clean' is .*and a hypothesis"),
        ([pair(0, clean={"premise": "p", "hypothesis": " "})], r"line 1: 'clean' is .*words in it"),
        ([pair(0, clean={"premise": 3, "hypothesis": "h"})], r"line 1: 'clean' is .*'premise': 3"),
        ([pair(0, clean=nli("p", "h") | {"x": "y"})], r"line 1: 'clean' is .*nothing else"),
        ([pair(0, clean=IMAGE)], r"line 1: 'clean' is the image 'cat\.png', but there is no"),
        ([pair(0, label=1)], r"line 1: 'label' is 1, but text is expected"),
        ([pair(0, foil=" ")], r"line 1: 'foil' is missing or empty"),
        ([pair(0, foil="Entailment")], r"line 1: label and foil are both 'entailment'"),
        ([pair(0), pair(1, contrast="colour")], r"line 2: unknown contrast 'colour'.*core, short"),
        ([pair(0), quad(1)], r"line 2: is a quad, but pairs are expected"),
        ([quad(0), pair(1)], r"line 2: is a pair, but quads are expected"),
        ([quad(0), quad(1), quad(0)], r"line 3: id 'q0' was given on line 1"),
        ([quad(0), quad(1, L=None)], r"line 2: 'L' is missing or empty"),
        ([{"text": "a"}], r"line 1: has 'text'. Expected a pair .*, a quad"),
    ],
)
def test_broken_line_is_named_with_what_was_expected(
    tmp_path: Path, lines: list[object], message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.jsonl, " + message) as caught:
        open_examples(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.jsonl", b"", r"e\.jsonl: is empty"),
        ("b.csv", b"  \n\n", r"b\.csv: is empty"),
        ("h.csv", b"clean,corrupted,label,foil\n", r"h\.csv: has a header but no rows"),
        ("l.jsonl", b'{"clean": "\xff"}', r"l\.jsonl, line 1: is not UTF-8"),
        ("g.jsonl.gz", b"not gzip", r"g\.jsonl\.gz: cannot be read"),
        ("c.csv", b'clean,label\n"open,x\n', r"c\.csv, line 2: is broken"),
        ("w.csv", b"clean,label\na,b,c\n", r"w\.csv, line 2: has 3 columns.*header has 2"),
        ("d.csv", b"clean,Clean\na,b\n", r"d\.csv, line 1: two columns are named 'clean'"),
        ("j.csv", b"clean,corrupted,label,foil\n{a,b,x,y\n", r"j\.csv, line 2: 'clean' opens like"),
    ],
)
def test_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_examples(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: there is no such file"):
        open_examples(tmp_path / "nowhere.jsonl")


def test_what_a_file_of_pairs_lacks_is_said(tmp_path: Path) -> None:
    task = open_examples(jsonl(tmp_path / "p.jsonl", [pair(0), pair(1)]))
    with pytest.raises(DataError, match=r"holds no quads\. All its pairs are of the core"):
        task.quads(1)
    with pytest.raises(DataError, match=r"holds no pairs of the shortcut contrast"):
        task.pairs("shortcut", 1)
    with pytest.raises(DataError, match=r"256 pairs .* asked for, but it holds 2\. .*at most 2"):
        task.pairs("core")
    with pytest.raises(DataError, match=r"no split 'train'\. Expected one of: all"):
        task.examples("train")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nil-overlap", {}, r"Unknown task 'nil-overlap'\. Expected one of: nli-overlap, hans"),
        ("hans", {}, r"Task 'hans' is read from a source\. Say which: path="),
        ("quads", {"pth": "x"}, r"Task 'quads' has no option 'pth'\. Expected: path"),
        ("nli-overlap", {"path": "x"}, r"has no option 'path'\. Expected: rho"),
    ],
)
def test_task_that_does_not_exist_is_met_with_those_that_do(
    name: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_task(name, **options)
