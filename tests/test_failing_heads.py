"""What comparisons say of single failures, templates, swaps and depth: identities with arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import TWO_WAY, write_quads
from imagemaking import make_image_model
from modelmaking import make_bert
from textmaking import make_t5

from behavior.answers import QuadAnswers
from behavior.examples import CELLS
from behavior.inputs import TextInput
from behavior.tasks import load_task
from circuits.compare import Comparison, compare_models
from circuits.compare.asking import RoleAnswers
from circuits.compare.by_template import template_rows
from circuits.compare.config import ComparisonConfig
from circuits.compare.failing_attention import can_look, where_it_looks, where_they_look
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.swapping import swapped_losses
from patching import load_checkpoint

PREMISE = "the doctor saw the nurse"
ONE, OTHER = (TextInput(PREMISE, f"the {noun} saw the nurse") for noun in ("doctor", "nurse"))
N_QUADS = 24


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    return compare_models(
        home / "big",
        home / "small",
        examples=write_quads(home / "quads.jsonl", N_QUADS),
        n_resamples=50,
        n_probe_quads=0,
        discovery="eap",
        interventions=False,
    )


def failures(comparison: Comparison) -> list[dict[str, Any]]:
    stored = listing(comparison.result, "failures")
    assert stored, "these models were chosen such that the student fails somewhere"
    return stored


def test_top_heads_are_those_of_the_quads_own_pair(found: Comparison) -> None:
    pairs = branch(found.result, "task", "pairs")
    for failure in failures(found):
        for role in ("teacher", "student"):
            for contrast in ("core", "shortcut"):
                given = branch(pairs, contrast)
                row = next(
                    i
                    for i, (unit, step) in enumerate(
                        zip(given["units"], given["steps"], strict=True)
                    )
                    if unit == failure["id"] and failure["cell"] in step.split("->")
                )
                effects = found.arrays[f"{role}.{contrast}"][row].ravel()
                top = [head["logits"] for head in failure["heads"][role][contrast]]
                strongest = sorted(effects, key=abs, reverse=True)[: len(top)]
                assert np.abs(top) == pytest.approx(np.abs(strongest), rel=1e-5)


def test_attention_over_words_adds_up_and_names_words_of_the_input(found: Comparison) -> None:
    for failure in failures(found):
        texts = f"{failure['input']['premise']} {failure['input']['hypothesis']}".split()
        for role in ("teacher", "student"):
            looks = failure["attention"][role]
            assert sum(looks["weights"]) == pytest.approx(1, abs=2e-3)
            plain = [
                word for word, own in zip(looks["words"], looks["special"], strict=True) if not own
            ]
            assert plain == texts and looks["from"] in looks["words"]
            tops = [h for c in ("core", "shortcut") for h in failure["heads"][role][c]]
            assert looks["node"] == max(tops, key=lambda head: abs(head["logits"]))["node"]


def test_the_other_top_heads_look_over_the_same_words(found: Comparison) -> None:
    for failure in failures(found):
        for role in ("teacher", "student"):
            first, more = failure["attention"][role], failure["more_attention"][role]
            tops = [(c, h["node"]) for c in ("core", "shortcut") for h in failure["heads"][role][c]]
            looking = [(str(each["contrast"]), str(each["node"])) for each in (first, *more)]
            assert sorted(looking) == sorted(tops)
            for each in more:
                assert len(each["weights"]) == len(first["words"]) and "words" not in each
                assert sum(each["weights"]) == pytest.approx(1, abs=2e-3)


def test_heads_that_are_asked_together_look_where_each_looks_alone(tmp_path: Path) -> None:
    model = load_checkpoint(make_bert(tmp_path / "bert", n_layers=2, seed=1, classes=TWO_WAY))
    together = where_they_look(model, ONE, OTHER, ["a1.h0", "a0.h1", "a1.h1"])
    assert together == [where_it_looks(model, ONE, OTHER, str(each["node"])) for each in together]


def test_answers_of_failures_are_those_of_the_logits(found: Comparison) -> None:
    ids = branch(found.result, "task")["quads"]
    assert isinstance(ids, list)
    for failure in failures(found):
        for role in ("teacher", "student"):
            logits = found.arrays[f"{role}.logits.{failure['cell']}"][ids.index(failure["id"])]
            p = np.exp(logits) / np.exp(logits).sum()
            said = failure["answers"][role]
            assert said["confidence"] == pytest.approx(p.max(), rel=1e-5)
            assert said["label"] == TWO_WAY[int(p.argmax())]
            assert (said["label"] == failure["truth"]) == (role == "teacher")


def test_margins_at_the_last_stage_are_the_models_own(found: Comparison) -> None:
    for role in ("teacher", "student"):
        rows = [row for row in listing(found.result, "margins") if row["model"] == role]
        assert [row["depth"] for row in rows] == sorted(row["depth"] for row in rows)
        last = found.arrays[f"{role}.lens.{rows[-1]['stage']}"]
        for i, cell in enumerate(CELLS):
            logits = found.arrays[f"{role}.logits.{cell}"]
            assert last[:, i] == pytest.approx(logits[:, 0] - logits[:, 1], abs=1e-4)
            own = estimate(found.result, "models", role, "groups", cell, "margin")
            assert estimate(rows[-1], cell).value == pytest.approx(own.value, abs=1e-4)


def test_templates_together_are_the_whole(found: Comparison) -> None:
    rows = listing(found.result, "templates")
    assert [row["template"] for row in rows] == ["t0", "t1"]
    assert sum(int(str(row["n"])) for row in rows) == N_QUADS
    for path in (("teacher", "N"), ("student", "C"), ("losses", "mean")):
        parts = [estimate(row, *path).value or 0.0 for row in rows]
        whole = (
            estimate(found.result, *path)
            if path[0] == "losses"
            else estimate(found.result, "models", path[0], "groups", path[1], "accuracy")
        )
        assert np.mean(parts) == pytest.approx(whole.value, abs=1e-9)


def answers(logits: torch.Tensor, templates: tuple[str, ...]) -> RoleAnswers:
    n = logits.shape[1]
    quads = QuadAnswers(
        logits=dict(zip(CELLS, logits, strict=True)),
        label=torch.zeros(n, dtype=torch.long),
        foil=torch.ones(n, dtype=torch.long),
        units=tuple(f"q{i}" for i in range(n)),
        templates=templates,
    )
    return RoleAnswers(quads, {}, None, torch.zeros(0, dtype=torch.long), {})


def test_one_template_alone_is_no_table() -> None:
    given = answers(torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(0)), ("t",) * 6)
    config = ComparisonConfig("a", "b", n_resamples=20)
    assert template_rows({"teacher": given, "student": given}, config) == []


def test_swaps_of_equal_models_find_nothing_and_of_unequal_ones_do_not_reach_the_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    same = answers(torch.randn(4, 60, 2, generator=draw), ("t",) * 60)
    nothing = swapped_losses({"teacher": same, "student": same}, 0)
    assert nothing["value"] == 0 and nothing["p"] == 1
    assert same.quads is not None
    right = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]])
    teacher = answers(right[:, None].repeat(1, 60, 1), ("t",) * 60)
    found = swapped_losses({"teacher": teacher, "student": same}, 0)
    assert found["p"] == pytest.approx(1 / 2001)
    assert isinstance(found["null_high"], float) and isinstance(found["value"], float)
    assert found["null_high"] < found["value"]
    # Turned round, the loss turns its sign and the ends of the null change places.
    back = swapped_losses({"teacher": same, "student": teacher}, 0)
    assert back["value"] == pytest.approx(-found["value"]) and back["p"] == found["p"]
    assert replace(same, quads=None).quads is None
    assert swapped_losses({"teacher": replace(same, quads=None), "student": same}, 0) == {
        "value": None,
        "reason": "the data hold no quads",
        "n": 0,
    }


def test_a_decoder_looks_at_the_words_of_the_encoder(tmp_path: Path) -> None:
    model = load_checkpoint(make_t5(tmp_path / "t5"))
    assert not can_look(model, "dec.a0.h0") and can_look(model, "enc.a0.h0")
    looks = where_it_looks(model, ONE, OTHER, "dec.x0.h0")
    assert looks["from"] == "the decoder"
    words, weights = looks["words"], looks["weights"]
    assert isinstance(words, list) and isinstance(weights, list)
    assert [word for word in words if word in PREMISE.split()] and len(words) == len(weights)
    assert sum(weights) == pytest.approx(1, abs=2e-3)


def test_an_image_is_looked_at_patch_by_patch(tmp_path: Path) -> None:
    model = load_checkpoint(make_image_model(tmp_path / "vit"))
    quad = load_task("digits").quads(1)[0]
    looks = where_it_looks(model, quad.A, quad.C, "a0.h0")
    rows, columns = looks["shape"]  # pyright: ignore[reportGeneralTypeIssues]
    weights = looks["weights"]
    assert isinstance(weights, list) and len(weights) == rows * columns
    assert sum(weights) + float(str(looks["rest"])) == pytest.approx(1, abs=2e-3)
    resnet = load_checkpoint(make_image_model(tmp_path / "resnet", "resnet"))
    assert not can_look(resnet, resnet.spec.heads[0])
