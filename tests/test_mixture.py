"""Mixtures: so many items of each source, under one set of labels."""

import json
from pathlib import Path

import pytest

from behavior.errors import DataError
from behavior.tasks import load_task


@pytest.fixture
def sources(tmp_path: Path) -> list[dict[str, object]]:
    """Thirty labelled pairs of sentences, and ten token-aligned pairs."""
    labels = ("entailment", "neutral", "contradiction")
    rows = [
        {"id": f"r{i}", "premise": f"it is {i}", "hypothesis": "so", "label": labels[i % 3]}
        for i in range(30)
    ]
    (tmp_path / "nli.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = [
        {
            "id": f"p{i}",
            "clean": {"premise": f"a helps {i}", "hypothesis": "a helps"},
            "corrupted": {"premise": f"b helps {i}", "hypothesis": "a helps"},
            "label": "entailment",
            "foil": "non-entailment",
            "contrast": "core",
        }
        for i in range(10)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return [
        {"task": "nli", "path": str(tmp_path / "nli.jsonl"), "two_way": True, "n": 12},
        {"task": "pairs", "path": str(tmp_path / "pairs.jsonl"), "pairs": "core", "n": 8},
    ]


def test_each_source_gives_as_many_items_as_asked_for(sources: list[dict[str, object]]) -> None:
    task = load_task("mixture", parts=sources)
    examples = list(task.examples("train", seed=3))
    assert [example.id.partition(".")[0] for example in examples] == ["part-1"] * 12 + [
        "part-2"
    ] * 8
    assert task.labels == ("entailment", "non-entailment")
    assert len({example.id for example in examples}) == 20


def test_both_inputs_of_a_pair_are_items_with_opposite_labels(
    sources: list[dict[str, object]],
) -> None:
    pairs = list(load_task("mixture", parts=sources[1:]).examples("train"))
    for clean, corrupted in zip(pairs[::2], pairs[1::2], strict=True):
        assert (clean.label, corrupted.label) == ("entailment", "non-entailment")
        assert clean.input.premise.replace("a", "b", 1) == corrupted.input.premise


def test_the_seed_draws_other_items_and_the_same_seed_the_same(
    sources: list[dict[str, object]],
) -> None:
    task = load_task("mixture", parts=sources)
    drawn = [[example.id for example in task.examples("train", seed=s)] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_description_names_every_source(sources: list[dict[str, object]]) -> None:
    described = load_task("mixture", parts=sources).describe()
    parts = described["parts"]
    assert isinstance(parts, list)
    assert [part["n"] for part in parts] == [12, 8] and all("sha256" in part for part in parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "mixture"}, "Part 1 of the mixture names no source"),
        ({"n": 0}, "Part 1 of the mixture: n is 0"),
        ({"split": "test"}, "Part 1 of the mixture: no split 'test'. Expected one of: all"),
        ({"pairs": "both"}, "Part 1 of the mixture: pairs is 'both'. Say core or shortcut"),
        ({"colour": 1}, "Task 'nli' has no option 'colour'"),
    ],
)
def test_a_part_that_cannot_be_used_is_refused(
    sources: list[dict[str, object]], change: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_task("mixture", parts=[{**sources[0], **change}])


def test_a_mixture_is_asked_nothing(sources: list[dict[str, object]]) -> None:
    task = load_task("mixture", parts=sources)
    assert not task.has_quads and task.n_pairs("core") == 0
    with pytest.raises(DataError, match="A mixture holds no quads"):
        task.quads(1)
    with pytest.raises(DataError, match="A mixture holds no pairs"):
        task.pairs("core")
    with pytest.raises(DataError, match="A mixture needs parts"):
        load_task("mixture", parts=[])
