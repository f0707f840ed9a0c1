"""Quads from the role-swap pairs of HANS: same length, one factor a step, nothing ambiguous."""

from pathlib import Path

import pytest

from behavior.errors import DataError
from behavior.examples import CELLS
from behavior.hans_quads import OTHER_NAMES
from behavior.tasks import load_task

REGENERATED = Path(__file__).parents[2] / "shared/data/hans/hans_regenerated_seed1_eval.tsv.gz"
YES, NO = "entailment", "non-entailment"
HEAD = "gold_label\tsentence1\tsentence2\tpairID\theuristic\tsubcase\ttemplate"


def hans(path: Path, *rows: tuple[str, str, str, str]) -> Path:
    lines = [
        "\t".join((label, premise, hypothesis, f"ex{i}", "lexical_overlap", subcase, "temp1"))
        for i, (label, premise, hypothesis, subcase) in enumerate(rows)
    ]
    path.write_text("\n".join((HEAD, *lines)) + "\n")
    return path


def test_quad_holds_the_roles_once_in_the_premise_words_and_once_in_others(tmp_path: Path) -> None:
    seen = "The senators were seen by the doctor ."
    row = (YES, seen, "The doctor saw the senators .", "le_passive")
    task = load_task("hans-quads", path=hans(tmp_path / "hans.tsv", row))
    (quad,) = task.quads(1)
    assert {cell: quad.cell(cell).hypothesis for cell in CELLS} == {
        "A": "The doctor saw the senators .",
        "N": "The physician saw the legislators .",
        "C": "The senators saw the doctor .",
        "L": "The legislators saw the physician .",
    }
    assert (quad.label, quad.foil) == (YES, NO)
    assert {quad.cell(cell).premise for cell in CELLS} == {seen}
    assert (task.n_pairs("core"), task.n_pairs("shortcut")) == (2, 2)


def test_the_entailed_hypothesis_of_a_row_that_is_not_is_its_swap(tmp_path: Path) -> None:
    seen = "The doctor was seen by the actors ."
    row = (NO, seen, "The doctor saw the actors .", "ln_passive")
    (quad,) = load_task("hans-quads", path=hans(tmp_path / "hans.tsv", row)).quads(1)
    assert (quad.A.hypothesis, quad.L.hypothesis) == (
        "The actors saw the doctor .",
        "The physician saw the performers .",
    )


@pytest.mark.parametrize(
    ("premise", "hypothesis", "why"),
    [
        (
            "The banker saw the doctor and the judge .",
            "The banker saw the judge .",
            "1 pairs with a noun that has no other name",
        ),
        (
            "The doctor saw the judge and the doctors .",
            "The doctor saw the judge .",
            "1 pairs in which the other name fits two people",
        ),
        (
            "The actor saw the judge and the artist .",
            "The actor saw the judge .",
            "1 pairs in which the other name fits two people",
        ),
    ],
)
def test_pairs_without_a_certain_quad_are_left_out_and_counted(
    tmp_path: Path, premise: str, hypothesis: str, why: str
) -> None:
    path = hans(tmp_path / "hans.tsv", (YES, premise, hypothesis, "le_conjunction"))
    task = load_task("hans-quads", path=path)
    assert why in str(task.reports["quads"])
    with pytest.raises(DataError, match=r"no quads\. Quads come from role-swap pairs whose nouns"):
        task.quads(1)


def test_file_without_pairs_has_no_quads(tmp_path: Path) -> None:
    path = hans(tmp_path / "hans.tsv", (YES, "The judge ran .", "The judge ran .", "ce_adverb"))
    with pytest.raises(DataError, match="holds no quads"):
        load_task("hans-quads", path=path).quads(1)


@pytest.mark.skipif(not REGENERATED.exists(), reason="the regenerated HANS files are not here")
def test_quads_of_a_full_file_vary_one_factor_a_step() -> None:
    task = load_task("hans-quads", path=REGENERATED)
    quads = task.quads(task.n_quads or 0)
    assert len(quads) > 2000
    others = {*OTHER_NAMES.values(), *(f"{name}s" for name in OTHER_NAMES.values())}
    for quad in quads:
        words = {cell: str(quad.cell(cell).hypothesis).split() for cell in CELLS}
        premise = set(quad.A.premise.split())
        assert sorted(words["A"]) == sorted(words["C"])
        assert sorted(words["N"]) == sorted(words["L"])
        assert {w for w in words["A"] if w not in ("The", "the")} <= premise
        assert len(others & set(words["N"])) == 2
        assert not others & premise
        assert [a == c for a, c in zip(words["A"], words["C"], strict=True)] == [
            n == x for n, x in zip(words["N"], words["L"], strict=True)
        ]
