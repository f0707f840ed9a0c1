"""Known changes of a plant: what must stay the same does, and what must change changes."""

from functools import cache

import pytest
import torch
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Contrast
from circuits.discovery import METHODS
from circuits.graph import reader_node
from circuits.plants import Plant, changes, make_plant
from circuits.plants.weights import head_reader
from patching.models.model import PatchableModel

N = 16
FAMILIES = ("bert", "gpt2")


@cache
def plant_of(family: str) -> Plant:
    return make_plant("wired", family, seed=5, n_pairs=24)


@pytest.fixture(params=FAMILIES)
def plant(request: pytest.FixtureRequest) -> Plant:
    return plant_of(request.param)


def moved(plant: Plant, student: PatchableModel) -> float:
    """Largest change of a logit, as a share of the mean range."""
    inputs = plant.pairs("core", N).clean
    change = (student.logits(inputs) - plant.model.logits(inputs)).abs().max()
    return float(change) / plant.bench("core", N).range


def strong_head(plant: Plant) -> str:
    """A head whose outputs carry the core."""
    return next(node for node in sorted(plant.circuits["core"].nodes) if ".h" in node)


def decoy_of(plant: Plant, head: str) -> str:
    """Another head of the row that is in no circuit."""
    row = head.partition(".")[0]
    heads = [name for name in plant.model.spec.heads if name.startswith(f"{row}.")]
    return next(name for name in heads if name not in plant.wiring.circuit)


def exact(model: PatchableModel, plant: Plant, contrast: Contrast = "core") -> dict[str, float]:
    scores = METHODS["exact_edges"](model, plant.pairs(contrast, N))
    return dict(zip(scores.edges, scores.values.abs().mean(dim=0).tolist(), strict=True))


def test_a_head_scaled_by_one_stays_and_by_another_number_scales_what_it_writes(
    plant: Plant,
) -> None:
    head = strong_head(plant)
    assert moved(plant, changes.scale_head(plant.model, head, 1.0)) == 0
    student = changes.scale_head(plant.model, head, 0.5)
    assert moved(plant, student) > 1e-3
    assert torch.equal(written(student, plant, head), 0.5 * written(plant.model, plant, head))


def written(model: PatchableModel, plant: Plant, head: str) -> Tensor:
    site = model.site(head)
    row = model.row(site)
    _, cache = model.run_with_cache(plant.pairs("core", N).clean, sites=[row.site("result")])
    assert site.head is not None
    return cache[row.site("result")][:, :, site.head]


def test_a_silenced_head_carries_nothing_any_more(plant: Plant) -> None:
    head = strong_head(plant)
    student = changes.silence_head(plant.model, head, plant.pairs("core", N).clean)
    found = exact(student, plant)
    assert moved(plant, student) > 1e-3
    assert max(size for edge, size in found.items() if edge.startswith(f"{head}->")) < 1e-12
    idle = changes.silence_head(plant.model, decoy_of(plant, head), plant.pairs("core", N).clean)
    assert moved(plant, idle) < 1e-9


def test_a_cut_edge_carries_nothing_and_an_edge_that_nothing_reads_can_be_cut(
    plant: Plant,
) -> None:
    inputs = plant.pairs("core", N).clean
    true = [e for e in sorted(plant.circuits["core"].edges) if not e.endswith("->logits")]
    kinds = {edge.partition("<")[2] for edge in true}
    for kind in sorted(kinds):
        edge = next(edge for edge in true if edge.partition("<")[2] == kind)
        before, after = (
            exact(plant.model, plant)[edge],
            exact(changes.cut_edge(plant, edge, inputs), plant)[edge],
        )
        assert after < 1e-9 < before
    unread = next(
        e for e in sorted(plant.unread()) if e.startswith("a0.") and not e.endswith("logits")
    )
    assert moved(plant, changes.cut_edge(plant, unread, inputs)) < 1e-9


def test_an_added_edge_carries_the_shortcut_and_no_other_edge_appears(plant: Plant) -> None:
    inputs = plant.pairs("shortcut", N).clean
    edge = next(
        edge
        for edge in sorted(plant.unread())
        if edge.startswith("input->")
        and edge.endswith("<v>")
        and reader_node(edge.partition("->")[2]) in plant.circuits["core"].nodes
    )
    student = changes.add_edge(plant, edge, inputs)
    assert exact(plant.model, plant, "shortcut")[edge] < 1e-9
    found = exact(student, plant, "shortcut")
    assert found.pop(edge) > 0.01 * plant.bench("shortcut", N).range
    assert max(found[other] for other in plant.unread() - {edge}) < 1e-9
    assert exact(student, plant, "core")[edge] < 1e-9
    assert moved(plant, changes.add_edge(plant, edge, inputs, strength=0.0)) == 0
    half, whole = (
        changes.add_edge(plant, edge, inputs, strength).hf.state_dict() for strength in (0.5, 1.0)
    )
    before = plant.model.hf.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, whole[name])]
    assert changed
    for name in changed:
        torch.testing.assert_close(2 * (half[name] - before[name]), whole[name] - before[name])


def test_permuted_heads_with_rotated_values_answer_the_same(plant: Plant) -> None:
    student = changes.permute_heads(plant.model, "a1", (2, 0, 3, 1), seed=4)
    assert moved(plant, student) < 1e-9
    first = written(student, plant, "a1.h0")
    torch.testing.assert_close(first, written(plant.model, plant, "a1.h2"))
    values = [head_reader(model.modules.layers[1], "v", 0)[0] for model in (student, plant.model)]
    assert not torch.equal(*values)


def test_a_dropped_layer_is_a_layer_that_passes_the_stream_on(plant: Plant) -> None:
    model, inputs = plant.model, plant.pairs("core", N).clean
    student = changes.drop_layer(model, 1)
    assert student.spec.n_layers == model.spec.n_layers - 1
    assert student.hf.config.num_hidden_layers == model.spec.n_layers - 1
    _, cache = model.run_with_cache(inputs, sites=["L1.resid_pre"])
    with model.patch({"L1.resid_post": cache[model.site("L1.resid_pre")]}):
        expected = model.logits(inputs)
    torch.testing.assert_close(student.logits(inputs), expected)


def test_a_head_split_in_two_answers_the_same_and_fused_again_too(plant: Plant) -> None:
    head = strong_head(plant)
    other = decoy_of(plant, head)
    split = changes.split_head(plant.model, head, other, share=0.3)
    assert moved(plant, split) < 1e-9
    halves = written(split, plant, head), written(split, plant, other)
    torch.testing.assert_close(halves[0] * 0.3, halves[1] * 0.7)
    fused = changes.fuse_heads(split, head, other)
    assert moved(plant, fused) < 1e-7
    assert written(fused, plant, other).abs().max() == 0


def test_a_constant_moves_one_logit_by_just_that() -> None:
    plant = plant_of("bert")
    inputs = plant.pairs("core", N).clean
    change = changes.add_constant(plant.model, "label", 3.0).logits(inputs) - plant.model.logits(
        inputs
    )
    torch.testing.assert_close(change, torch.tensor([0.0, 3.0]).to(change).expand(N, 2))


def test_the_model_itself_is_never_touched(plant: Plant) -> None:
    before = {name: value.clone() for name, value in plant.model.hf.state_dict().items()}
    test_a_head_split_in_two_answers_the_same_and_fused_again_too(plant)
    changes.scale_head(plant.model, "a0.h0", 2.0)
    changes.permute_heads(plant.model, "a0", (1, 0, 2, 3))
    after = plant.model.hf.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_changes_that_cannot_be_made_are_refused_in_one_line() -> None:
    plant = plant_of("gpt2")
    model = plant.model
    with pytest.raises(DataError, match="has no bias"):
        changes.add_constant(model, "label", 1.0)
    with pytest.raises(DataError, match="No class 'cat'; expected one of: foil, label"):
        changes.add_constant(model, "cat", 1.0)
    with pytest.raises(DataError, match="is no attention head"):
        changes.scale_head(model, "m0", 0.0)
    with pytest.raises(DataError, match="are not two heads of one row"):
        changes.fuse_heads(model, "a0.h0", "a1.h0")
    with pytest.raises(DataError, match="is no order of 4 heads"):
        changes.permute_heads(model, "a0", (0, 0, 1, 2))
    with pytest.raises(DataError, match="No row of heads 'a9'"):
        changes.permute_heads(model, "a9", (0, 1, 2, 3))
    with pytest.raises(DataError, match="Layer 7 of 3 cannot be dropped"):
        changes.drop_layer(model, 7)
    inputs = plant.pairs("core", 2).clean
    for change in (changes.cut_edge, changes.add_edge):
        with pytest.raises(DataError, match="the classifier is left as it is"):
            change(plant, "m0->logits", inputs)
        with pytest.raises(DataError, match="is no edge of this model"):
            change(plant, "m2->m0", inputs)
    read = next(e for e in sorted(plant.circuits["core"].edges) if not e.endswith("->logits"))
    with pytest.raises(DataError, match="is read already"):
        changes.add_edge(plant, read, inputs)
