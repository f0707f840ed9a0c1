"""Interventions in a whole comparison: copies with one known change get what they deserve."""

from functools import cache
from pathlib import Path

import pytest

from behavior import load_task
from behavior.inputs import Input
from circuits.compare import Comparison, compare_models
from circuits.compare.causal.intervening import FEWEST_QUADS
from circuits.compare.reading import branch, estimate, listing
from circuits.plants import changes
from patching import PatchableModel, load_checkpoint

SMALL: dict[str, object] = {
    "task": "nli-overlap",
    "n_pairs": 80,
    "n_examples": 20,
    "n_resamples": 200,
    "discovery": "none",
    "n_probe_quads": 0,
}


@cache
def teacher() -> PatchableModel:
    return load_checkpoint("teacher")


@cache
def inputs() -> tuple[Input, ...]:
    quads = load_task("nli-overlap").quads(40, seed=9)
    return tuple(each for quad in quads for each in (quad.A, quad.N, quad.C, quad.L))


def compared(folder: Path, student: PatchableModel, **options: object) -> Comparison:
    student.hf.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return compare_models("teacher", folder, **(SMALL | options))  # pyright: ignore[reportArgumentType]


def test_a_teacher_against_itself_has_changed_nowhere() -> None:
    found = compare_models("teacher", "teacher", **SMALL)  # pyright: ignore[reportArgumentType]
    assert found.verdict.status == "no erosion"
    assert found.verdict.location is None
    nodes = listing(found.result, "diff", "nodes")
    assert nodes
    assert {node["category"] for node in nodes} == {"preserved"}
    assert branch(found.result, "alignment")["level"] == "heads"
    assert {
        link["teacher"] == link["student"] for link in listing(found.result, "alignment", "links")
    } == {True}
    assert branch(found.result, "tests", "removal")["reason"]


def test_a_silenced_head_is_the_only_node_with_its_own_origin(tmp_path: Path) -> None:
    head = "a1.h0"
    found = compared(tmp_path, changes.silence_head(teacher(), head, inputs()))
    distances = branch(found.result, "diff", "distances")
    assert [node for node, far in distances.items() if float(str(far)) > 0.02] == [head]
    changed = [n for n in listing(found.result, "diff", "nodes") if n["origin"] is not None]
    own = {tuple(n["student"]) for n in changed if n["origin"] == "own"}  # pyright: ignore[reportArgumentType]
    assert own <= {(head,)}
    for node in changed:
        assert node["category"] in ("lost", "weakened", "gained")


def test_permuted_heads_are_found_and_nothing_else_has_changed(tmp_path: Path) -> None:
    order = (2, 0, 3, 1)
    found = compared(tmp_path, changes.permute_heads(teacher(), "a1", order, seed=4))
    assert found.verdict.status == "no erosion"
    links = {str(n["student"]): n["teacher"] for n in listing(found.result, "alignment", "links")}
    assert all(links[f"a1.h{new}"] == f"a1.h{old}" for new, old in enumerate(order))
    categories = {str(node["category"]) for node in listing(found.result, "diff", "nodes")}
    assert categories <= {"preserved", "unalignable"}


def test_a_constant_on_one_logit_is_a_threshold_shift_and_nothing_is_lost(tmp_path: Path) -> None:
    student = changes.add_constant(teacher(), "entailment", 20.0)
    found = compared(tmp_path, student, n_probe_quads=160, n_pairs=200)
    assert found.verdict.status == "threshold shift"
    assert found.verdict.location is None
    by_model = {
        model: [
            estimate(row, "core_NL").value
            for row in listing(found.result, "stages")
            if row["model"] == model
        ]
        for model in ("teacher", "student")
    }
    assert by_model["teacher"] == pytest.approx(by_model["student"])


def test_too_few_quads_and_the_option_leave_interventions_out() -> None:
    few = compare_models(
        "teacher",
        "student",
        **(SMALL | {"n_pairs": FEWEST_QUADS}),  # pyright: ignore[reportArgumentType]
    )
    assert "cannot be halved" in str(branch(few.result, "alignment")["reason"])
    off = compare_models(
        "teacher",
        "student",
        **(SMALL | {"interventions": False}),  # pyright: ignore[reportArgumentType]
    )
    assert branch(off.result, "diff") == {"nodes": [], "reason": "interventions were left out"}
    assert branch(off.result, "tests", "transplant")["reason"] == "interventions were left out"


def test_a_head_that_was_turned_round_is_found_by_taking_heads_away(tmp_path: Path) -> None:
    """The student is the teacher with one idle head turned round and up until it disturbs."""
    found = compared(tmp_path, changes.scale_head(teacher(), "a2.h3", -12.0), n_pairs=200)
    removal = branch(found.result, "tests", "removal")
    assert "a2.h3" in removal["heads"]  # pyright: ignore[reportOperatorIssue]
    sentences = " ".join(found.verdict.sentences)
    assert "a2.h3" in sentences
