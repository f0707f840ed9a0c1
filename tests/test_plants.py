"""Plants: what was planted is there, what was not is not, and misleading nodes mislead."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast
from circuits.discovery import METHODS
from circuits.graph import reader_node
from circuits.plants import FAMILIES, KINDS, Plant, make_plant
from circuits.plants.recipe import recipe_for
from circuits.plants.wiring import INPUT

N = 24
EXACTLY_ZERO = 1e-10


@cache
def plant_of(kind: str, family: str) -> Plant:
    return make_plant(kind, family, seed=0)


@pytest.fixture(scope="module", params=FAMILIES)
def wired(request: pytest.FixtureRequest) -> Plant:
    return plant_of("wired", request.param)


def shares(plant: Plant, contrast: Contrast, method: str) -> Tensor:
    """Mean size of every edge's score on pairs that the truth was not measured on."""
    scores = METHODS[method](plant.model, plant.pairs(contrast, N))
    return scores.values.abs().mean(dim=0) / (scores.clean - scores.corrupted).mean()


def where(plant: Plant, edges: Any) -> Tensor:
    return torch.tensor([edge in edges for edge in plant.graph.edges])


@pytest.mark.parametrize("method", ["eap", "eap_ig_inputs", "exact_edges"])
def test_edges_that_nothing_reads_score_nothing_and_true_ones_above_the_floor(
    wired: Plant, method: str
) -> None:
    unread = where(wired, wired.unread())
    assert unread.sum() > len(wired.graph) / 2
    for contrast in CONTRASTS:
        found = shares(wired, contrast, method)
        assert found[unread].max() < EXACTLY_ZERO
        assert found[wired.truth(contrast)].min() > 0.005


def test_the_true_edges_alone_answer_like_the_whole_model(wired: Plant) -> None:
    for contrast in CONTRASTS:
        circuit = wired.circuits[contrast]
        bench = wired.bench(contrast, N)
        assert bench.faithfulness(circuit.edges) == pytest.approx(1, abs=0.03)
        assert circuit.faithfulness == pytest.approx(1, abs=0.03)
        rest = frozenset(wired.graph.edges) - circuit.edges
        assert abs(bench.faithfulness(rest)) < 0.5


def test_both_circuits_are_there_and_share_nodes_but_are_not_the_same(wired: Plant) -> None:
    core, shortcut = (wired.circuits[contrast] for contrast in CONTRASTS)
    assert core.nodes & shortcut.nodes
    assert core.edges != shortcut.edges
    for circuit in (core, shortcut):
        parts = {edge[edge.index("->") :].partition("<")[2] for edge in circuit.edges}
        assert {"q>", "k>", "v>"} & parts
        assert any(edge.startswith("input->") for edge in circuit.edges)
        assert any(edge.endswith("->logits") for edge in circuit.edges)


def test_decoys_write_as_loudly_as_the_circuit_does(wired: Plant) -> None:
    """Heads that are no part of the circuit have outputs of the same length."""
    model, pairs = wired.model, wired.pairs("core", N)
    _, cache = model.run_with_cache(pairs.clean, sites=["result"])
    rows = [cache[row.site("result")] for row in model.modules.layers]
    lengths = dict(
        zip(
            model.spec.heads,
            (float(head.norm(dim=-1).mean()) for row in rows for head in row.unbind(dim=2)),
            strict=True,
        )
    )
    circuit = [lengths[head] for head in wired.wiring.circuit if ".h" in head]
    decoys = [lengths[head] for head in lengths if head not in wired.wiring.circuit]
    assert max(decoys) > sum(circuit) / len(circuit) / 2


def test_everything_is_read_through_the_blocks_of_the_wiring(wired: Plant) -> None:
    edges = wired.wiring.edges()
    assert edges <= set(wired.graph.edges)
    for contrast in CONTRASTS:
        assert wired.circuits[contrast].edges <= edges
        assert wired.circuits[contrast].nodes <= wired.wiring.circuit
    assert set(wired.wiring.of("logits")).isdisjoint(INPUT)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(family: str) -> None:
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 72, "n_pairs": 16}
    first, again, other = (make_plant("wired", family, seed, **sizes) for seed in (3, 3, 4))
    weights = [plant.model.hf.state_dict() for plant in (first, again, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    assert first.circuits == again.circuits
    assert first.pairs("core", 4) == again.pairs("core", 4)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_even_mlps_change_nothing_but_gradients_think_they_do(family: str) -> None:
    plant = plant_of("even", family)
    for contrast in CONTRASTS:
        decoys = where(plant, [f"input->{mlp}" for mlp in plant.wiring.even])
        assert decoys.sum() == plant.recipe.n_even
        assert shares(plant, contrast, "exact_edges")[decoys].max() <= 0.01
        assert shares(plant, contrast, "eap")[decoys].max() > 0.05
        assert not (decoys & plant.truth(contrast)).any()


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_rivals_do_nothing_together_and_much_alone(family: str) -> None:
    plant = plant_of("cancelling", family)
    everything = frozenset(plant.graph.edges)
    for contrast in CONTRASTS:
        bench = plant.bench(contrast, N)
        alone: list[float] = []
        for pair in plant.wiring.rivals:
            both = {edge for edge in everything if edge.partition("->")[0] in pair}
            assert bench.faithfulness(everything - both) == pytest.approx(1, abs=1e-6)
            one = {edge for edge in both if edge.startswith(f"{pair[0]}->")}
            kept = plant.graph.kept(everything - one)
            alone.append(float((bench.margins(kept) - bench.clean).abs().mean()) / bench.range)
        assert max(alone) > 0.05
        assert bench.faithfulness(plant.circuits[contrast].edges) == pytest.approx(1, abs=0.03)


def test_hard_plants_are_settled_where_they_can_be() -> None:
    plant = plant_of("hard", "bert")
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
    for contrast, word in (("core", "core"), ("shortcut", "cue")):
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
    assert set(KINDS) == {"wired", "even", "cancelling", "hard"}
