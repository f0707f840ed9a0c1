"""Labelled NLI examples: HANS with its aligned pairs, MNLI and SNLI files, Hugging Face folders."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from behavior.errors import DataError
from behavior.examples import Pairs, TextInput
from behavior.tasks import load_task, open_examples

REGENERATED = Path(__file__).parents[2] / "shared/data/hans/hans_regenerated_seed1_eval.tsv.gz"

HANS_COLUMNS = (
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "pairID",
    "heuristic",
    "subcase",
    "template",
)
YES, NO = "entailment", "non-entailment"
LEXICAL, CONSTITUENT = "lexical_overlap", "constituent"
RAN = "The judge ran ."
HANS_ROWS = (
    (YES, "The judge was seen by the poet .", "The poet saw the judge .", LEXICAL, "le_passive"),
    (NO, "The judge was seen by the poet .", "The judge saw the poet .", LEXICAL, "ln_passive"),
    (NO, "The kings were met by the poet .", "The kings met the poet .", LEXICAL, "ln_passive"),
    (
        YES,
        "The poet and the poet saw the king .",
        "The poet saw the king .",
        LEXICAL,
        "le_conjunction",
    ),
    (YES, "The king who ran saw the poet .", "The king ran .", LEXICAL, "le_relative_clause"),
    (YES, "Surely the judge ran .", RAN, CONSTITUENT, "ce_adverb"),
    (NO, "Hopefully the judge ran .", RAN, CONSTITUENT, "cn_adverb"),
    (NO, "Probably the judge ran .", RAN, CONSTITUENT, "cn_adverb"),
    (NO, "The king saw the poet .", "The poet saw the king .", LEXICAL, "ln_subject/object_swap"),
)


def hans_file(path: Path, columns: tuple[str, ...] = HANS_COLUMNS) -> Path:
    lines = ["\t".join(columns)]
    for i, (label, premise, hypothesis, heuristic, subcase) in enumerate(HANS_ROWS):
        row = dict.fromkeys(HANS_COLUMNS, '( "quoted , parse" )') | {
            "gold_label": label,
            "sentence1": premise,
            "sentence2": hypothesis,
            "pairID": f"ex{i}",
            "heuristic": heuristic,
            "subcase": subcase,
            "template": f"temp{i}",
        }
        lines.append("\t".join(row[name] for name in columns))
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def both(pairs: Pairs) -> set[tuple[str, str, str, str]]:
    return {
        (clean.premise, str(clean.hypothesis), corrupted.premise, str(corrupted.hypothesis))
        for clean, corrupted in zip(pairs.clean, pairs.corrupted, strict=True)
    }


@pytest.mark.parametrize("name", ["heuristics_evaluation_set.txt", "hans.tsv.gz"])
def test_hans_rows_are_grouped_by_heuristic_and_label(tmp_path: Path, name: str) -> None:
    task = open_examples(hans_file(tmp_path / name))
    assert (task.name, task.labels, task.has_quads) == ("hans", (YES, NO), False)
    examples = list(task.examples("all"))
    assert Counter(example.group for example in examples) == {
        f"{LEXICAL}/{YES}": 3,
        f"{LEXICAL}/{NO}": 3,
        f"{CONSTITUENT}/{YES}": 1,
        f"{CONSTITUENT}/{NO}": 2,
    }
    assert all(example.aligned == (example.label == YES) for example in examples)
    assert examples[0].template == "le_passive:temp0"


def test_hans_with_fewer_columns_is_the_same_data(tmp_path: Path) -> None:
    columns = ("gold_label", "sentence1", "sentence2", "pairID", "heuristic", "subcase", "template")
    short = load_task("hans", path=hans_file(tmp_path / "short.tsv", columns))
    long = load_task("hans", path=hans_file(tmp_path / "long.txt"))
    assert list(short.examples("all")) == list(long.examples("all"))
    assert short.pairs("core", None) == long.pairs("core", None)


def test_hans_pairs_are_the_certain_ones_each_once(tmp_path: Path) -> None:
    task = load_task("hans", path=hans_file(tmp_path / "hans.txt"))
    seen, met = "The judge was seen by the poet .", "The kings were met by the poet ."
    assert both(task.pairs("core", None)) == {
        (seen, "The poet saw the judge .", seen, "The judge saw the poet ."),
        (met, "The poet met the kings .", met, "The kings met the poet ."),
        (
            "Surely the judge ran .",
            "The judge ran .",
            "Hopefully the judge ran .",
            "The judge ran .",
        ),
    }


def test_hans_report_says_why_rows_give_no_pair(tmp_path: Path) -> None:
    reports = load_task("hans", path=hans_file(tmp_path / "hans.txt")).reports
    assert str(reports["examples"]) == "9 kept, 0 dropped"
    assert reports["core pairs"].kept == 3
    assert set(reports["core pairs"].dropped.values()) == {1}
    assert str(reports["core pairs"]) == (
        "3 kept, 4 dropped (1 rows whose partner is in another pair, "
        "1 rows with a noun of the hypothesis not once in the premise, "
        "1 rows whose hypothesis is not 'The X V the Y', "
        "1 rows without a certain aligned counterfactual)"
    )


def test_hans_says_that_it_has_no_shortcut_contrast(tmp_path: Path) -> None:
    task = load_task("hans", path=hans_file(tmp_path / "hans.txt"))
    with pytest.raises(DataError, match=r"no pairs of the shortcut contrast\. HANS has high over"):
        task.pairs("shortcut", 1)
    with pytest.raises(DataError, match=r"holds no quads\. HANS has high overlap everywhere"):
        task.quads(1)


@pytest.mark.skipif(not REGENERATED.exists(), reason="the regenerated HANS files are not here")
def test_pairs_of_a_full_hans_file_have_equal_word_counts_and_the_counts_of_its_templates() -> None:
    task = open_examples(REGENERATED)
    pairs = task.pairs("core", None)
    for clean, corrupted in zip(pairs.clean, pairs.corrupted, strict=True):
        assert clean != corrupted
        assert len(clean.premise.split()) == len(corrupted.premise.split())
        assert len(str(clean.hypothesis).split()) == len(str(corrupted.hypothesis).split())
    counts = Counter(template.partition(":")[0] for template in pairs.templates)
    assert counts["le_passive"] == counts["le_conjunction"] == 1000
    assert (len(pairs), len(set(pairs.units))) == (6119, 6119)
    assert task.reports["examples"].kept == 30_000


MNLI_ROWS = (
    ("He ran, fast.", 'He "ran".', "entailment"),
    ("He ran.", "He sat.", "contradiction"),
    ("He ran.", "He won.", "neutral"),
    ("He ran.", "He hid.", "-"),
)


def write_nli(path: Path, columns: tuple[str, str, str], kind: str) -> Path:
    rows = [dict(zip(columns, row, strict=True)) for row in MNLI_ROWS]
    if kind == "jsonl":
        text = "\n".join(json.dumps(row | {"pairID": f"x{i}"}) for i, row in enumerate(rows))
    elif kind == "tsv":
        text = "\n".join("\t".join(row) for row in (columns, *MNLI_ROWS))
    else:
        quoted = [[f'"{text.replace(chr(34), chr(34) * 2)}"' for text in row] for row in MNLI_ROWS]
        text = "\n".join(",".join(row) for row in (columns, *quoted))
    path.write_text(text + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (("sentence1", "sentence2", "gold_label"), "jsonl"),
        (("sentence1", "sentence2", "gold_label"), "tsv"),
        (("premise", "hypothesis", "label"), "csv"),
        (("Premise", "Hypothesis", "Label"), "tsv"),
    ],
)
def test_mnli_and_snli_files_are_read_whatever_their_dress(
    tmp_path: Path, columns: tuple[str, str, str], kind: str
) -> None:
    path = write_nli(tmp_path / f"mnli.{kind}", columns, kind)
    for task in (load_task("mnli", path=path), load_task("snli", path=path), open_examples(path)):
        examples = list(task.examples("all"))
        assert [example.label for example in examples] == [row[2] for row in MNLI_ROWS[:3]]
        assert examples[0].input == TextInput(*MNLI_ROWS[0][:2])
        assert task.labels == ("contradiction", "entailment", "neutral")
        assert str(task.reports["examples"]) == "3 kept, 1 dropped (1 without a gold label)"
        with pytest.raises(DataError, match=r"holds no quads\. It has labelled examples only"):
            task.quads(1)


def test_collapse_to_two_classes_is_asked_for(tmp_path: Path) -> None:
    path = write_nli(tmp_path / "m.tsv", ("premise", "hypothesis", "label"), "tsv")
    task = load_task("mnli", path=path, two_way=True)
    assert [example.label for example in task.examples("all")] == [YES, NO, NO]
    assert task.describe()["two_way"] is True


def test_long_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_nli(tmp_path / "m.tsv", ("premise", "hypothesis", "label"), "tsv")
    lengths = [len(f"{premise} {hypothesis}".split()) for premise, hypothesis, _ in MNLI_ROWS[:3]]
    task = load_task("mnli", path=path, max_words=sorted(lengths)[1])
    assert len(list(task.examples("all"))) == sum(n <= sorted(lengths)[1] for n in lengths) < 3
    assert f"of more than {sorted(lengths)[1]} words" in str(task.reports["examples"])
    assert task.describe()["max_words"] == sorted(lengths)[1]
    with pytest.raises(DataError, match=r"max_words is 0\. Give a number of at least 1\."):
        load_task("mnli", path=path, max_words=0)


def test_label_numbers_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "n.csv"
    text.write_text("premise,hypothesis,label\na,b,0\n")
    number = tmp_path / "n.jsonl"
    number.write_text('{"premise": "a", "hypothesis": "b", "label": 2}\n')
    for path, digit in ((text, 0), (number, 2)):
        with pytest.raises(DataError, match=rf"line \d: the label is the number {digit}.*by name"):
            load_task("mnli", path=path)


def test_file_without_a_gold_label_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "u.tsv"
    path.write_text("premise\thypothesis\tlabel\na\tb\t-\n")
    with pytest.raises(DataError, match=r"u\.tsv: no example is left.*1 without a gold label"):
        load_task("snli", path=path)


def test_ids_given_twice_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    row = {"premise": "a", "hypothesis": "b", "label": "neutral", "id": 5, "genre": "fiction"}
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    examples = list(open_examples(path).examples("all"))
    assert [example.id for example in examples] == ["0:5", "1:5"]
    assert examples[0].group == "fiction"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    names = ["neutral", "entailment", "contradiction"]
    features = datasets.Features(
        premise=datasets.Value("string"),
        hypothesis=datasets.Value("string"),
        label=datasets.ClassLabel(names=names),
    )
    columns = {"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [1, 2, -1]}
    part = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=part, test=part.select([0])).save_to_disk(tmp_path / "set")
    return tmp_path / "set"


def test_saved_data_set_gives_its_splits_and_class_names(saved: Path) -> None:
    task = load_task("datasets", path=saved)
    assert task.splits == ("train", "test")
    assert [example.label for example in task.examples("train")] == ["entailment", "contradiction"]
    assert str(task.reports["examples of train"]) == "2 kept, 1 dropped (1 without a gold label)"
    assert open_examples(saved).labels == task.labels == ("contradiction", "entailment")
    assert load_task("datasets", path=saved, split="test").splits == ("test",)


def test_data_set_without_the_split_says_which_it_has(saved: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'dev'\. It has: train, test"):
        load_task("datasets", path=saved, split="dev")


def test_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match="cannot be read as a data set"):
        open_examples(tmp_path)
