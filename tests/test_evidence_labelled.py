"""Labelled examples by group: worked out by hand, and from folders to a table."""

import csv
from pathlib import Path

import numpy as np
import pytest

from behavior.examples import Example, TextInput
from behavior.tasks import load_task
from distillation.evidence.__main__ import main
from distillation.evidence.labelled import (
    LabelledAnswers,
    LabelledSource,
    answer_labelled,
    labelled_rows,
)
from distillation.evidence.trios import Trio, find_trios
from distillation.grid import train_grid
from distillation.models import load_classifier
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
YES, NO = "entailment", "non-entailment"
GROUPS = (f"lexical/{YES}", f"lexical/{NO}", f"order/{YES}", f"order/{NO}")
TINY = ["data.n=200", "model.d_model=16", "model.n_heads=2", "optimization.steps=2"]


def example(i: int, group: str) -> Example[TextInput]:
    return Example(str(i), TextInput("a man", "a man"), group.partition("/")[2], None, group)


@pytest.fixture
def source() -> LabelledSource:
    return LabelledSource("hans", (YES, NO), tuple(map(example, range(4), GROUPS)))


def test_accuracy_is_by_group_and_auc_by_what_the_group_is_of(source: LabelledSource) -> None:
    first = LabelledAnswers(np.array([True, False, True, True]), np.array([3.0, 2.0, 1.0, -4.0]))
    other = LabelledAnswers(np.array([True, True, True, True]), np.array([1.0, -1.0, 1.0, -4.0]))
    rows = labelled_rows([source], {"student": [{"hans": first}, {"hans": other}]})
    found = {(x.measure, x.group): (x.n, x.value.value) for x in rows}
    assert found == {
        ("accuracy", "all"): (4, pytest.approx(0.875)),
        ("accuracy", f"lexical/{YES}"): (1, 1.0),
        ("accuracy", f"lexical/{NO}"): (1, 0.5),
        ("accuracy", f"order/{YES}"): (1, 1.0),
        ("accuracy", f"order/{NO}"): (1, 1.0),
        # Of the first seed one of four comparisons is lost: 1 above -4 and not above 2.
        ("auc", "all"): (4, pytest.approx((0.75 + 1) / 2)),
        ("auc", "lexical"): (2, 1.0),
        ("auc", "order"): (2, 1.0),
    }
    assert all(x.value.n == 2 for x in rows)


def test_three_labels_and_one_group_give_one_accuracy() -> None:
    labels = ("contradiction", YES, "neutral")
    source = LabelledSource("mnli", labels, tuple(example(i, f"/{YES}") for i in range(3)))
    answers = LabelledAnswers(np.array([True, False, True]), np.zeros(3))
    (row,) = labelled_rows([source], {"teacher": [{"mnli": answers}]})
    assert (row.group, row.measure, row.n) == ("all", "accuracy", 3)
    assert row.value.value == pytest.approx(2 / 3)


def test_a_student_debiased_by_its_data_is_what_the_distilled_one_is_compared_with() -> None:
    folder = RECIPES / "minilm"
    recipes = {path.stem: load_recipe(path).to_json() for path in folder.glob("*.yaml")}
    trios = {trio.student: trio for trio in find_trios(recipes)}
    assert trios["student"] == Trio(
        "student", "teacher", "student-debiased", "teacher-plain", "student-plain"
    )
    assert trios["student-quads"].debiased == "student-debiased-quads"
    assert trios["student-augmented"].debiased == "student-debiased"


def test_a_teacher_that_debiases_makes_no_student() -> None:
    names = ["confidence", "plain", "debiased-confidence"]
    recipes = {
        name: load_recipe(RECIPES / f"{name}.yaml").to_json()
        for name in ("teacher-plain", "teacher-confidence", *(f"student-{x}" for x in names))
    }
    (trio,) = find_trios(recipes)
    assert trio == Trio(
        *("student-confidence", "teacher-confidence", "student-debiased-confidence"),
        *("teacher-plain", "student-plain"),
    )


def test_nets_from_one_ancestor_are_compared_with_each_other() -> None:
    paths = RECIPES.glob("ancestor-*.yaml")
    (trio,) = find_trios({path.stem: load_recipe(path).to_json() for path in paths})
    assert trio == Trio(
        "ancestor-student",
        "ancestor-teacher",
        "ancestor-student-debiased",
        "ancestor-teacher-plain",
        "ancestor-student-plain",
    )


def test_the_command_asks_files_by_group(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "student-plain.yaml", TINY)
    train_grid([recipe], [0, 1], tmp_path / "runs")
    hans = tmp_path / "hans.tsv"
    head = "gold_label\tsentence1\tsentence2\tpairID\theuristic\tsubcase\ttemplate"
    sentence = "The senators were seen by the doctor ."
    rows = [
        f"{YES}\t{sentence}\tThe doctor saw the senators .\te0\tlexical\tle_passive\tt1",
        f"{NO}\t{sentence}\tThe senators saw the doctor .\te1\tlexical\tln_passive\tt2",
        f"{NO}\tThe judge ran .\tThe judge saw the doctor .\te2\torder\tsn_NP/S\tt3",
    ]
    hans.write_text("\n".join((head, *rows)) + "\n")
    snli = tmp_path / "snli.tsv"
    snli.write_text(
        "premise\thypothesis\tlabel\na man ran .\ta man ran .\tentailment\na\tb\tneutral\n"
        "a\tc\tcontradiction\n"
    )
    line = [str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--quads", "1"]
    line += ["--task", "hans-quads", "--examples", str(hans), "--labelled", str(hans)]
    assert main([*line, "--labelled", str(snli), "--two-way"]) == 0
    with (tmp_path / "out" / "labelled.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {(row["source"], row["group"], row["n"]) for row in table} == {
        ("hans.tsv", "all", "2"),
        ("hans.tsv", f"lexical/{YES}", "2"),
        ("hans.tsv", f"lexical/{NO}", "2"),
        ("hans.tsv", f"order/{NO}", "2"),
        ("hans.tsv", "lexical", "2"),
        ("snli.tsv", "all", "2"),
    }
    text = (tmp_path / "out" / "evidence.md").read_text()
    assert "## Labelled examples" in text


def test_answers_of_a_model_are_those_of_its_logits(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "student-plain.yaml", TINY)
    train_grid([recipe], [0], tmp_path)
    classifier = load_classifier(tmp_path / "student-plain" / "seed-0")
    drawn = LabelledSource.draw("grammar", load_task("nli-overlap"), n=20, seed=3)
    found = answer_labelled(classifier, drawn)
    logits = classifier.predict(classifier.encode([one.input for one in drawn.examples]))
    classes = [name.casefold() for name in classifier.classes]
    answered = [classes[i] for i in logits.argmax(-1).tolist()]
    assert found.right.tolist() == [
        name == one.label for name, one in zip(answered, drawn.examples, strict=True)
    ]
    sign = 1 if classes[0] == drawn.labels[0].casefold() else -1
    assert np.allclose(found.first, sign * (logits[:, 0] - logits[:, 1]).numpy(), atol=1e-5)


def test_two_files_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = ["--labelled", "a/x.tsv", "--labelled", "b/x.tsv"]
    assert main([str(tmp_path), *twice]) == 2
    assert "--labelled names two files 'x.tsv'. Give them different names." in (
        capsys.readouterr().err
    )
