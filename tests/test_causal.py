"""Causal tests: sets of heads, removal, necessity, transplant, and where a change began."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from behavior import load_task
from behavior.answers import QuadAnswers
from behavior.examples import CELLS, Quad
from behavior.inputs import Input
from behavior.readout import Readout, read_labels
from circuits.compare.causal.basis import stream_basis
from circuits.compare.causal.head_sets import HeadSets
from circuits.compare.causal.necessity import measure_necessity
from circuits.compare.causal.origin import node_distances, origin_of, same_place
from circuits.compare.causal.partners import other_examples
from circuits.compare.causal.removal import matched_sets, measure_removal
from circuits.compare.causal.restoring import rank_among, restored_value, share_restored
from circuits.compare.causal.transplant import Transplanter
from circuits.plants import changes
from patching import PatchableModel, ablate_heads, load_checkpoint
from patching.ablation import answer_margin

N = 24
LABELS = load_task("nli-overlap").labels


@cache
def teacher() -> PatchableModel:
    return load_checkpoint("teacher")


@cache
def quads(seed: int = 0, n: int = N) -> tuple[Quad[Input], ...]:
    return load_task("nli-overlap").quads(n, seed=seed)


def readout() -> Readout:
    return read_labels(teacher().spec.classes, LABELS)


def sets_of(model: PatchableModel, seed: int = 0, n: int = N) -> HeadSets:
    return HeadSets(model, readout(), quads(seed, n))


def answers_of(model: PatchableModel, seed: int = 0, n: int = N) -> QuadAnswers:
    return sets_of(model, seed, n).answers([()])[0]


def inputs() -> list[Input]:
    return [quad.cell(cell) for quad in quads() for cell in CELLS]


@cache
def disturbed(head: str) -> PatchableModel:
    """The teacher with one head turned round and up until it fails."""
    return changes.scale_head(teacher(), head, -12.0)


MATTERS, IDLE = "a0.h1", "a2.h3"
"""A head that the teacher needs, and one that it can do without."""


def test_no_heads_is_the_model_itself_and_one_head_is_what_ablation_measures() -> None:
    whole, without = sets_of(teacher()).answers([(), ("a1.h2",)])
    logits = torch.stack([whole.logits[cell] for cell in CELLS], dim=1).flatten(0, 1)
    expected = readout().task_logits(teacher().logits(inputs()))
    torch.testing.assert_close(logits, expected)
    effects = ablate_heads(teacher(), quads(), readout=readout())
    truth = torch.tensor(whole.answers.truth).flatten()
    margins = [
        answer_margin(
            torch.stack([given.logits[cell] for cell in CELLS], dim=1).flatten(0, 1), truth
        )
        for given in (whole, without)
    ]
    torch.testing.assert_close(margins[0] - margins[1], effects.node("a1.h2"), atol=1e-4, rtol=1e-4)


def test_heads_of_several_rows_are_ablated_together_and_order_does_not_matter() -> None:
    one, same, first = sets_of(teacher()).answers(
        [("a0.h0", "a2.h3"), ("a2.h3", "a0.h0"), ("a0.h0",)]
    )
    assert torch.equal(one.logits["A"], same.logits["A"])
    assert not torch.equal(one.logits["A"], first.logits["A"])


def test_nothing_restores_nothing_and_the_teacher_itself_restores_all() -> None:
    before, after = answers_of(teacher()), answers_of(disturbed(MATTERS))
    assert restored_value(before, after, after) == 0
    whole = share_restored(before, after, before, 200, 0)
    assert whole.restored.value is not None
    assert whole.gain.value is not None
    assert whole.gain.value > 0.05
    if whole.cost.value is not None and whole.cost.value <= 0:
        assert whole.restored.value == pytest.approx(1)
    nothing = share_restored(before, before, after, 200, 0)
    assert nothing.restored.value is None
    assert nothing.restored.reason == "the student loses nothing on C and N"


def test_a_p_value_counts_the_value_among_its_controls() -> None:
    assert rank_among(0.5, [0.1, 0.6, 0.5]) == 3 / 4
    assert rank_among(0.9, [0.1] * 19) == 1 / 20


def test_a_head_that_was_made_to_disturb_is_found_and_its_removal_restores() -> None:
    student = disturbed(IDLE)
    found = measure_removal(
        sets_of(student), sets_of(student, 1, 96), answers_of(teacher(), 1, 96), n_resamples=200
    )
    assert IDLE in found.heads
    assert found.removable
    assert found.found.restored.value is not None
    assert found.found.restored.value > 0.7
    assert found.p is not None
    assert found.p <= 0.1


def test_from_the_teacher_itself_nothing_can_be_restored() -> None:
    found = measure_removal(
        sets_of(teacher()), sets_of(teacher(), 1), answers_of(teacher(), 1), n_resamples=200
    )
    assert not found.removable
    assert found.found.restored.value is None
    assert found.found.restored.reason


def test_matched_sets_have_as_many_heads_in_each_row_and_are_others() -> None:
    heads = teacher().spec.heads
    found = matched_sets(heads, ("a0.h0", "a2.h1", "a2.h2"), 12, seed=3)
    assert len(found) == len(set(found)) == 12
    for one in found:
        assert one != ("a0.h0", "a2.h1", "a2.h2")
        rows = [name.partition(".")[0] for name in one]
        assert (rows.count("a0"), rows.count("a1"), rows.count("a2")) == (1, 0, 2)
    every = matched_sets(heads[:4], heads[:3], 20, seed=0)
    assert len(every) == 3


def test_heads_that_alone_carry_the_core_are_necessary_and_idle_ones_are_not() -> None:
    names = teacher().spec.heads
    whole, *without = sets_of(teacher()).answers([(), *((name,) for name in names)])
    falls = {
        name: float((whole.label_probabilities - one.label_probabilities)[:, [0, 1]].mean())
        for name, one in zip(names, without, strict=True)
    }
    found = measure_necessity(sets_of(teacher(), 1), falls, n_resamples=200)
    assert found.core.value is not None
    assert found.core.value > 0.02
    idle = measure_necessity(
        sets_of(teacher(), 1), {name: -size for name, size in falls.items()}, n_resamples=200
    )
    assert idle.core.value is not None
    assert idle.core.value < found.core.value
    assert not idle.necessary
    assert idle.p > found.p


def test_a_copy_shares_the_basis_and_other_widths_or_weights_do_not() -> None:
    copy = changes.scale_head(teacher(), "a1.h0", 0.5)
    basis = stream_basis(teacher(), copy, inputs())
    assert basis.shared
    assert basis.rows == (0, 1, 2)
    assert stream_basis(teacher(), teacher(), inputs()).cosine == pytest.approx(1, abs=1e-5)
    apart = stream_basis(teacher(), load_checkpoint("student"), inputs())
    assert not apart.shared
    assert apart.reason == "the streams have different widths, 64 and 48"
    plain = stream_basis(teacher(), load_checkpoint("teacher-plain"), inputs())
    assert not plain.shared
    assert "point different ways" in plain.reason


def test_rows_of_a_model_that_lost_a_layer_are_found() -> None:
    for dropped, left in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        shorter = changes.drop_layer(teacher(), dropped)
        assert stream_basis(teacher(), shorter, inputs()).rows == left


@pytest.mark.parametrize("head", ["a0.h2", "a1.h0", "a2.h3"])
def test_of_a_silenced_head_that_node_alone_has_its_own_origin(head: str) -> None:
    student = changes.silence_head(teacher(), head, inputs())
    basis = stream_basis(teacher(), student, inputs())
    distances = node_distances(
        teacher(), student, basis, same_place(student, teacher(), basis), inputs()
    )
    assert [node for node, far in distances.items() if origin_of(far) == "own"] == [head]
    assert distances[head] > 0.5
    assert max(far for node, far in distances.items() if node != head) < 1e-3


def test_permuted_heads_have_no_own_origin_once_they_are_matched() -> None:
    order = (2, 0, 3, 1)
    student = changes.permute_heads(teacher(), "a1", order, seed=4)
    basis = stream_basis(teacher(), student, inputs())
    places = same_place(student, teacher(), basis)
    by_place = node_distances(teacher(), student, basis, places, inputs())
    assert all(by_place[f"a1.h{i}"] > 0.1 for i in range(4))
    matched = places | {f"a1.h{new}": f"a1.h{old}" for new, old in enumerate(order)}
    distances = node_distances(teacher(), student, basis, matched, inputs())
    assert max(distances.values()) < 1e-3


def transplanter(kind: type[Transplanter] = Transplanter) -> Transplanter:
    student = disturbed(MATTERS)
    return kind(student, readout(), {"teacher": teacher()}, quads(0), quads(1, 64))


def test_the_right_head_of_the_teacher_restores_all_and_has_credit() -> None:
    nodes = {node: node for node in (MATTERS, "a0.h3", "a1.h2", "a2.h0")}
    right, *others = transplanter().run(nodes, answers_of(teacher(), 1, 64), n_resamples=200)
    assert right.student == MATTERS
    assert right.found.restored.value == pytest.approx(1, abs=1e-3)
    assert right.has_credit
    assert set(right.controls) == {"other example", "class direction"}
    assert max((other.found.restored.value or 0) for other in others) < 0.9


def test_where_the_label_is_ready_another_example_brings_as_much() -> None:
    (last,) = transplanter().run({"m2": "m2"}, answers_of(teacher(), 1, 64), n_resamples=200)
    assert last.label_auc > 0.9
    assert not last.has_credit


class Oracle(Transplanter):
    """Its donor knows the truth and nothing else: it writes it along one direction."""

    def donor_outputs(self, name: str, node: str, quads: Sequence[Quad[Input]]) -> Tensor:
        own = Transplanter.donor_outputs(
            replace(self, donors={name: self.student}), name, node, quads
        )
        truth = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(len(quads))[:, None, None]
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(own.shape[-1], generator=generator)
        along = direction / direction.norm()
        return own - (own @ along)[..., None] * along + 20 * truth * along


def test_an_oracle_of_the_label_as_donor_earns_no_credit() -> None:
    nodes = {node: node for node in ("a0.h1", "m1", "a2.h0")}
    for found in transplanter(Oracle).run(nodes, answers_of(teacher(), 1, 64), n_resamples=200):
        assert found.label_auc == 1
        assert not found.has_credit
        assert abs((found.found.restored.value or 0) - found.controls["class direction"]) < 0.02


def test_other_examples_have_the_same_answer_and_length_and_are_others() -> None:
    given = quads(1, 64)
    lengths = [len(row) for row in teacher().encode([q.cell(c) for q in given for c in CELLS])]
    truths = [q.truth(c) for q in given for c in CELLS]
    chosen = other_examples(given, lengths, seed=0)
    assert all(truths[i] == truths[j] and lengths[i] == lengths[j] for i, j in enumerate(chosen))
    assert sum(i == j for i, j in enumerate(chosen)) < 0.05 * len(chosen)
