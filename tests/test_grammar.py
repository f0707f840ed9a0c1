"""The grammar: what follows from what, and that nothing but the roles gives it away."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from behavior.errors import DataError
from behavior.examples import CELLS, Cell, Quad, TextInput
from behavior.grammar import VOCABULARY, GrammarTask, _contents
from behavior.lexicon import FILLERS, NOUNS, TEMPLATES, VERBS, Template
from behavior.tasks import load_task

TASK = GrammarTask(rho=0.99)
QUADS = {split: TASK.quads(800, seed=11, split=split) for split in ("test", "hard")}
VALIDATION = TASK.quads(800, split="validation")
ROWS: tuple[tuple[Cell, Cell], ...] = (("A", "C"), ("N", "L"))

Fact = tuple[int, int, int]

TAGS = {word: tag for tag, words in FILLERS.items() for word in words}
LETTERS = {"ADJ": "a", "ADV": "d", "PREP": "p", "PLACE": "P", "the": "t", "in": "i"}
LETTERS |= {"was": "w", "by": "b", "who": "q"}
CONCEPT = {word: i for concepts in (NOUNS, VERBS) for i, c in enumerate(concepts) for word in c}
NOUN_WORDS = {word for concept in NOUNS for word in concept}
VERB_WORDS = {word for concept in VERBS for word in concept}

# Each clause as a pattern of word classes; the groups are agent, verb, patient in this order.
CLAUSES = {
    r"^ta?(?P<x>N)(?P<v>V)ta?(?P<y>N)": "xvy",
    r"^ta?(?P<x>N)w(?P<v>V)bta?(?P<y>N)": "yvx",
    r"^t(?P<x>N)pt(?:N)(?P<v>V)ta?(?P<y>N)": "xvy",
    r"^t(?P<x>N)q(?P<v>V)t(?P<y>N)": "xvy",
    r"^t(?P<x>N)qVtN(?P<v>V)t(?P<y>N)": "xvy",
}


def letter(word: str) -> str:
    if word in NOUN_WORDS:
        return "N"
    return "V" if word in VERB_WORDS else LETTERS[TAGS.get(word, word)]


def facts(sentence: str) -> set[Fact]:
    """Who did what to whom: an interpreter that knows nothing of the generator."""
    words = sentence.split()
    shape = "".join(map(letter, words))
    found: set[Fact] = set()
    for pattern, roles in CLAUSES.items():
        if match := re.match(pattern, shape):
            found.add(tuple(CONCEPT[words[match.start(role)]] for role in roles))
    return found


def overlap(pair: TextInput) -> int:
    return len(set(str(pair.hypothesis).split()) & set(pair.premise.split()))


def words(pair: TextInput) -> list[str]:
    return [*pair.premise.split(), *str(pair.hypothesis).split()]


def content(quad: Quad) -> str:
    premise = quad.A.premise.split()
    used = sorted((letter(word), CONCEPT[word]) for word in premise if word in CONCEPT)
    return f"{quad.template} {used}"


@pytest.mark.parametrize("split", ["test", "hard"])
def test_core_and_not_overlap_decides_what_follows(split: str) -> None:
    for quad in QUADS[split]:
        known = facts(quad.A.premise)
        for cell in CELLS:
            claim = facts(str(quad.cell(cell).hypothesis))
            assert len(claim) == 1
            assert (claim <= known) == (quad.truth(cell) == "entailment"), quad


def test_interpreter_finds_one_fact_in_each_clause() -> None:
    n_facts = {quad.template: len(facts(quad.A.premise)) for quad in QUADS["test"]}
    assert n_facts == {"active": 1, "passive": 1, "prep": 1, "subjrel": 2}


@pytest.mark.parametrize("split", ["test", "hard"])
def test_four_cells_share_the_premise_and_the_number_of_words(split: str) -> None:
    for quad in QUADS[split]:
        assert {quad.cell(cell).premise for cell in CELLS} == {quad.A.premise}
        assert len(quad.A.premise.split()) == 10
        assert {len(str(quad.cell(cell).hypothesis).split()) for cell in CELLS} == {5}


@pytest.mark.parametrize("split", ["test", "hard"])
def test_overlap_is_full_in_a_and_c_and_equally_low_in_n_and_l(split: str) -> None:
    for quad in QUADS[split]:
        assert (overlap(quad.A), overlap(quad.C), overlap(quad.N), overlap(quad.L)) == (4, 4, 2, 2)


def test_shortcut_replaces_the_same_two_positions_by_synonyms() -> None:
    meaning = {word: concept for concept in (*NOUNS, *VERBS) for word in concept}
    for quad in QUADS["test"]:
        changed = []
        for left, right in ((quad.A, quad.N), (quad.C, quad.L)):
            columns = list(zip(words(left), words(right), strict=True))
            changed.append([i for i, (old, new) in enumerate(columns) if old != new])
            assert all(meaning.get(old) == meaning.get(new) for old, new in columns)
        assert changed[0] == changed[1]
        assert len(changed[0]) == 2


def test_every_word_is_one_of_61_in_the_vocabulary() -> None:
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 61
    used = {w for quads in QUADS.values() for q in quads for c in CELLS for w in words(q.cell(c))}
    assert used == set(VOCABULARY)
    assert all(word.isalpha() and word.islower() for word in VOCABULARY)


def test_no_word_marks_a_cell() -> None:
    quads = TASK.quads(4000)
    counts = {
        cell: Counter(w for q in quads for w in str(q.cell(cell).hypothesis).split())
        for cell in CELLS
    }
    for word in VOCABULARY:
        for cell in CELLS:
            expected = counts["A"][word]
            assert abs(counts[cell][word] - expected) <= 4.5 * max(2 * expected, 1) ** 0.5


def accuracy(features: np.ndarray, quads: Sequence[Quad]) -> float:
    """Cross-validated over contents: no content of the test part is in the training part."""
    truth = np.arange(len(features)) % 2
    groups = np.repeat([content(quad) for quad in quads], 2)
    model = LogisticRegression(C=1.0, max_iter=200)
    guess = cross_val_predict(model, features, truth, groups=groups, cv=GroupKFold(5))
    return float((guess == truth).mean())


def bags(texts: Sequence[Sequence[str]]) -> np.ndarray:
    column = {word: i for i, word in enumerate(VOCABULARY)}
    counts = np.zeros((len(texts), len(VOCABULARY)))
    for row, text in enumerate(texts):
        for word in text:
            counts[row, column[word]] += 1
    return counts


def cheap_classifiers(texts: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """Features of each classifier that must not be able to tell the core."""
    views = {"bag of words": bags(texts), "hypothesis only": bags([text[10:] for text in texts])}
    return views | {f"position {i}": bags([[text[i]] for text in texts]) for i in range(15)}


def cheap_accuracies(quads: Sequence[Quad], row: tuple[Cell, Cell], planted: float = 0) -> dict:
    texts = [words(quad.cell(cell)) for quad in quads for cell in row]
    for i, text in enumerate(texts):
        if i % 2 and i % 100 < planted * 100:
            text[10] = "by"
    return {name: accuracy(view, quads) for name, view in cheap_classifiers(texts).items()}


@pytest.mark.parametrize("split", ["test", "hard"])
@pytest.mark.parametrize("row", ROWS, ids="".join)
def test_cheap_classifiers_are_at_chance_on_the_core(split: str, row: tuple[Cell, Cell]) -> None:
    found = cheap_accuracies(QUADS[split], row)
    assert len(found) == 17
    assert {name: value for name, value in found.items() if abs(value - 0.5) > 0.05} == {}


def test_cheap_classifiers_find_a_marker_in_a_third_of_one_cell() -> None:
    found = cheap_accuracies(QUADS["test"], ("A", "C"), planted=0.33)
    for name in ("bag of words", "hypothesis only", "position 10"):
        assert found[name] > 0.6


def test_number_of_repeated_words_does_give_away_the_shortcut() -> None:
    texts = [words(quad.cell(cell)) for quad in QUADS["test"] for cell in ("A", "N")]
    repeats = np.sort(bags(texts), axis=1)
    assert accuracy(repeats, QUADS["test"]) > 0.95


def test_splits_share_no_content() -> None:
    train = {content(TASK.training_quad(i)) for i in range(6000)}
    test = {content(quad) for quad in TASK.quads(1500, seed=5)}
    validation = {content(quad) for quad in VALIDATION}
    assert not train & test
    assert not train & validation
    assert not validation & test
    for split, others in (("test", train | validation), ("validation", train | test)):
        for example in TASK.examples(split, n=300, seed=3):
            quad = Quad("", *[example.input] * 4, "x", "y", example.template)
            assert content(quad) not in others


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_contents_of_a_template_go_to_its_splits_in_the_stated_shares(template: Template) -> None:
    splits = [_contents(template, split) for split in ("train", "validation", "test")]
    n = sum(map(len, splits))
    assert n == len(set().union(*splits))
    np.testing.assert_allclose([len(split) / n for split in splits], [0.7, 0.1, 0.2], atol=0.01)


def test_hard_split_uses_templates_that_are_never_trained_on() -> None:
    trained = {example.template for example in TASK.examples("train", n=500)}
    hard = {example.template for example in TASK.examples("hard", n=100)}
    assert trained == {"active", "passive", "prep", "subjrel"}
    assert hard == {"passive-place", "object-prep"}


def test_quads_take_the_templates_in_turn() -> None:
    counts = Counter(quad.template for quad in TASK.quads(40))
    assert set(counts.values()) == {10}


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.99])
def test_rho_is_the_share_of_aligned_items_in_both_halves(rho: float) -> None:
    n = 4000
    items = list(load_task("nli-overlap", rho=rho).examples("train", n))
    counts = Counter(item.group for item in items)
    for cell in CELLS:
        expected = n / 2 * (rho if cell in "AL" else 1 - rho)
        assert abs(counts[cell] - expected) < 4.5 * expected**0.5
    assert sum(item.aligned is True for item in items) == counts["A"] + counts["L"]


def test_fully_biased_training_has_no_conflicting_item() -> None:
    assert {item.group for item in GrammarTask(rho=1.0).examples("train", 500)} == {"A", "L"}


def test_rho_changes_cells_and_never_contents() -> None:
    biased = GrammarTask(rho=0.99).examples("train", 300)
    fair = GrammarTask(rho=0.5).examples("train", 300)
    assert [e.input.premise for e in biased] == [e.input.premise for e in fair]


def test_training_item_is_one_cell_of_its_training_quad() -> None:
    for i, example in enumerate(TASK.examples("train", n=200, seed=4)):
        assert example in TASK.training_quad(i, seed=4).examples()


def test_cells_of_the_quads_are_the_first_out_of_domain_examples() -> None:
    for quads, split in ((TASK.quads(5, seed=9), "ood"), (TASK.quads(5, 9, "hard"), "hard")):
        cells = [example for quad in quads for example in quad.examples()]
        assert list(TASK.examples(split, n=20, seed=9)) == cells


def test_item_depends_on_seed_split_and_place_alone() -> None:
    whole = list(TASK.examples("train", n=50, seed=1))
    assert list(islice(TASK.examples("train", seed=1), 50)) == whole
    assert list(TASK.examples("train", n=20, seed=1)) == whole[:20]
    assert next(TASK.examples("train", seed=2)).input != whole[0].input


def test_items_are_the_same_on_every_machine() -> None:
    example = next(TASK.examples("train", seed=7))
    assert example.id == "train-7-0.L"
    assert example.input == TextInput(
        "the famous actor liked the friendly seaman in the office",
        "the sailor liked the performer",
    )


def test_items_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = "from behavior.grammar import GrammarTask as T; print(T().quads(3, seed=3))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {f"{TASK.quads(3, seed=3)}\n"}


def test_any_number_of_items_is_made_lazily() -> None:
    assert len(list(islice(TASK.examples("train", n=10**15), 3))) == 3


def test_ids_are_unique_across_splits_and_seeds() -> None:
    ids = [
        item.id
        for split in TASK.splits
        for seed in (0, 1)
        for item in TASK.examples(split, 40, seed)
    ]
    ids += [item.id for q in TASK.quads(10, split="validation") for item in q.examples()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("contrast", ["core", "shortcut"])
def test_pairs_are_both_pairs_of_each_quad(contrast: str) -> None:
    pairs = TASK.pairs(contrast, n=7, seed=2)
    ids = [quad.id for quad in TASK.quads(4, seed=2)]
    assert list(pairs.units) == [name for name in ids for _ in range(2)][:7]
    assert len(set(pairs.steps)) == 2


def test_description_changes_with_the_setting() -> None:
    assert TASK.describe() == GrammarTask(rho=0.99).describe()
    assert TASK.describe() != GrammarTask(rho=0.9).describe()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GrammarTask(rho=1.5), r"rho is 1\.5.*from 0 to 1"),
        (lambda: TASK.examples("dev"), r"'dev'.*train, validation, test, ood, hard"),
        (lambda: TASK.examples("train", n=-1), r"n is -1"),
        (lambda: TASK.quads(0), r"n is 0.*at least 1"),
        (lambda: TASK.quads(3, split="train"), r"'train'.*test, validation or hard"),
        (lambda: TASK.pairs("core", n=0), r"n is 0.*at least 1"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(call, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()
