"""Plants: what was planted is there, what was not is not, and misleading nodes mislead."""

import pytest
import torch
from planting import (
    METHODS_CHECKED,
    N,
    check_both_circuits,
    check_even_nodes_mislead,
    check_loud_decoys,
    check_rivals_cancel,
    check_truth_is_faithful,
    check_unread_and_true_edges,
    plant_of,
    shares,
    where,
)

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast
from circuits.graph import reader_node
from circuits.plants import FAMILIES, Plant, make_plant
from circuits.plants.recipe import recipe_for

SMALL = {"n_layers": 2, "n_heads": 3, "d_model": 72, "n_pairs": 16}
TWO = {"n_layers": 2}
"""A smaller plant than by default, which is made faster."""


@pytest.fixture(scope="module", params=FAMILIES)
def wired(request: pytest.FixtureRequest) -> Plant:
    return plant_of("wired", request.param)


@pytest.mark.parametrize("method", METHODS_CHECKED)
def test_edges_that_nothing_reads_score_nothing_and_true_ones_above_the_floor(
    wired: Plant, method: str
) -> None:
    check_unread_and_true_edges(wired, method)


def test_the_true_edges_alone_answer_like_the_whole_model(wired: Plant) -> None:
    check_truth_is_faithful(wired)


def test_both_circuits_are_there_and_share_nodes_but_are_not_the_same(wired: Plant) -> None:
    check_both_circuits(wired)
    for circuit in wired.circuits.values():
        parts = {edge[edge.index("->") :].partition("<")[2] for edge in circuit.edges}
        assert bool({"q>", "k>", "v>"} & parts) == (wired.family != "resnet")


def test_decoys_write_as_loudly_as_the_circuit_does(wired: Plant) -> None:
    check_loud_decoys(wired)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (make_plant("wired", "bert", seed, **SMALL) for seed in (3, 3, 4))
    weights = [plant.model.hf.state_dict() for plant in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    assert first.circuits == again.circuits
    assert first.pairs("core", 4) == again.pairs("core", 4)


@pytest.mark.parametrize(("family", "sizes"), [("bert", {}), ("gpt2", {"n_even": 1, **TWO})])
def test_even_mlps_change_nothing_but_gradients_think_they_do(
    family: str, sizes: dict[str, int]
) -> None:
    check_even_nodes_mislead(plant_of("even", family, **sizes))


@pytest.mark.parametrize(("family", "sizes"), [("bert", {}), ("gpt2", {"n_rivals": 1, **TWO})])
def test_rivals_do_nothing_together_and_much_alone(family: str, sizes: dict[str, int]) -> None:
    check_rivals_cancel(plant_of("cancelling", family, **sizes))


def test_hard_plants_are_settled_where_they_can_be() -> None:
    plant = plant_of("hard", "bert", n_rivals=1, **TWO)
    for contrast in CONTRASTS:
        circuit = plant.circuits[contrast]
        assert circuit.faithfulness == pytest.approx(1, abs=plant.recipe.tolerance)
        assert not circuit.edges & circuit.unsettled
        assert not set(plant.designed) & (circuit.edges | circuit.unsettled)
        assert not (plant.truth(contrast) & ~plant.scored(contrast)).any()
        exact = shares(plant, contrast, "exact_edges")
        clean = plant.scored(contrast) & ~plant.truth(contrast)
        clean &= ~where(plant, plant.designed)
        assert exact[clean].max() < 3 * plant.recipe.floor


def test_nodes_of_the_truth_are_those_its_edges_touch() -> None:
    plant = plant_of("cancelling", "bert")
    nodes = plant.node_truth("core")
    edges = plant.circuits["core"].edges
    touched = {edge.partition("->")[0] for edge in edges}
    touched |= {reader_node(edge.partition("->")[2]) for edge in edges}
    assert {node for node, true in nodes.items() if true} == touched - {"input", "logits"}
    assert all(not nodes[head] for pair in plant.wiring.rivals for head in pair)


def test_pairs_differ_in_what_their_contrast_says_and_move_the_model() -> None:
    plant = plant_of("wired", "bert")
    words: dict[Contrast, str] = {"core": "core", "shortcut": "cue"}
    for contrast, word in words.items():
        pairs = plant.pairs(contrast, N)
        for clean, corrupted in zip(pairs.clean, pairs.corrupted, strict=True):
            changed = [
                (one, other)
                for one, other in zip(clean.text.split(), corrupted.text.split(), strict=True)
                if one != other
            ]
            assert len(changed) == 3
            assert all(a.startswith(word) and b.startswith(word) for a, b in changed)
        bench = plant.bench(contrast, N)
        assert (bench.clean > bench.corrupted).all()
    assert plant.pairs("core", N, seed=1) != plant.pairs("core", N, seed=2)


def test_other_kinds_families_and_numbers_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="Unknown kind of plant 'tame'; expected one of: wired"):
        make_plant("tame")
    with pytest.raises(DataError, match="No plants of family 'lstm'; expected one of: bert"):
        make_plant("wired", "lstm")
    with pytest.raises(DataError, match="A plant has no 'n_layer'; it has: n_layers"):
        make_plant("wired", n_layer=2)
    with pytest.raises(DataError, match="d_model 48; expected at least 87, room for every"):
        recipe_for("wired", d_model=48)
    with pytest.raises(DataError, match="n_rivals 1; expected at most 0"):
        recipe_for("cancelling", n_heads=3, n_rivals=1)
