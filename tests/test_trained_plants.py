"""Trained plants: the model answers by what it was trained through, and by little else."""

from collections.abc import Iterator

import pytest
import torch

from behavior.errors import CircuitsError, DataError
from behavior.examples import CONTRASTS
from circuits.discovery import METHODS
from circuits.graph import Graph
from circuits.plants import TrainedPlant, changes, make_plant, plantable
from circuits.plants.language import draw_words, exchange, seeded
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import make_scaffold
from circuits.plants.trained import draw_mask
from circuits.plants.trained_model import Schedule, Trainer, labels_of
from circuits.validate.options import read_validate_options
from circuits.validate.running import run_all

N = 64
TOLERANCE = 0.15
SIZES = Recipe(family="bert", n_layers=2, d_model=64, embedding_block=1, head_block=1, mlp_block=1)


@pytest.fixture(scope="module")
def plant() -> Iterator[TrainedPlant]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = make_plant("trained", "bert", seed=9003)
    assert isinstance(made, TrainedPlant)
    yield made
    torch.set_num_threads(threads)


def trainer_of(seed: int, **numbers: int) -> Trainer:
    scaffold = make_scaffold("bert", SIZES, "tiny")
    graph = Graph.of(scaffold.model)
    return Trainer(scaffold, graph, draw_mask(graph, seed), Schedule(**numbers), seed)


def test_the_model_and_its_circuit_are_right_and_the_complement_guesses(
    plant: TrainedPlant,
) -> None:
    assert plant.fit.full >= 0.99
    assert plant.fit.circuit >= 0.99
    assert plant.fit.complement == pytest.approx(0.5, abs=0.15)


def test_the_true_edges_alone_answer_like_the_model_on_other_pairs(plant: TrainedPlant) -> None:
    for contrast in CONTRASTS:
        bench = plant.bench(contrast, N)
        true = plant.circuits[contrast].edges
        assert bench.faithfulness(true) == pytest.approx(1, abs=TOLERANCE)
        mask = plant.wiring.edges()
        assert bench.faithfulness(mask) == pytest.approx(1, abs=TOLERANCE)
        rest = frozenset(plant.graph.edges) - mask
        assert abs(bench.faithfulness(rest)) < 0.25


def test_true_edges_matter_on_other_pairs_and_edges_outside_do_little(plant: TrainedPlant) -> None:
    for contrast in CONTRASTS:
        circuit = plant.circuits[contrast]
        scores = METHODS["exact_edges"](plant.model, plant.pairs(contrast, N))
        sizes = scores.values.abs().mean(dim=0) / plant.bench(contrast, N).range
        assert sizes[plant.truth(contrast)].min() > plant.recipe.floor / 2
        false = plant.scored(contrast) & ~plant.truth(contrast)
        assert sizes[false].max() < 2 * plant.recipe.floor
        outside = ~plant.graph.kept(plant.wiring.edges())
        assert sizes[outside].max() < sizes[plant.truth(contrast)].max() / 3
        assert not circuit.edges & circuit.unsettled


def test_what_is_true_lies_in_the_mask_and_the_rest_of_the_mask_is_unsettled(
    plant: TrainedPlant,
) -> None:
    mask = plant.wiring.edges()
    assert len(mask) < plant.drawn
    for contrast in CONTRASTS:
        circuit = plant.circuits[contrast]
        assert circuit.edges <= mask
        assert mask - circuit.edges <= circuit.unsettled
        assert set(circuit.effects) == mask
        assert any(edge.startswith("input->") for edge in circuit.edges)
        assert any(edge.endswith("->logits") for edge in circuit.edges)


def test_nothing_is_unread_and_no_writer_has_a_block(plant: TrainedPlant) -> None:
    assert plant.unread() == frozenset()
    with pytest.raises(DataError, match="have no blocks of the stream"):
        changes.cut_edge(plant, "input->m0", plant.pairs("core", 2).clean)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    trained = [trainer_of(seed, steps=6, cut_after=3, batch=8) for seed in (3, 3, 4)]
    for one in trained:
        one.train()
    weights = [one.model.hf.state_dict() for one in trained]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert any(not torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    assert trained[0].edges == trained[1].edges
    assert all(value.dtype == torch.float64 for value in weights[0].values())
    assert not any(weight.requires_grad for weight in trained[0].model.hf.parameters())


def test_a_model_that_is_not_trained_is_never_accepted() -> None:
    with pytest.raises(DataError, match="No trained plant came of seed 0 with these numbers"):
        make_plant("trained", "bert", seed=0, steps=2, cut_after=3, batch=4)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_either_contrast_turns_the_label(contrast: str) -> None:
    draws = seeded(0, "test")
    words = draw_words(50, draws)
    assert 10 < int(labels_of(words).sum()) < 40
    other = exchange(words, contrast, draws)  # pyright: ignore[reportArgumentType]
    assert torch.equal(labels_of(other), 1 - labels_of(words))


def test_masks_connect_the_input_with_the_logits_and_differ_by_seed() -> None:
    graph = Graph.of(make_scaffold("bert", SIZES, "tiny").model)
    masks = [draw_mask(graph, seed) for seed in range(8)]
    assert len(set(masks)) == len(masks)
    for mask in masks:
        assert mask <= set(graph.edges)
        writers = {edge.partition("->")[0] for edge in mask}
        read = {edge.partition("->")[2].partition("<")[0] for edge in mask}
        assert writers == (read - {"logits"}) | {"input"}


def test_only_families_that_can_be_trained_are_dealt_and_others_refused_in_one_line() -> None:
    assert plantable("trained") == ("bert", "gpt2", "vit")
    with pytest.raises(DataError, match="of family 't5'; expected one of: bert, gpt2, vit"):
        make_plant("trained", "t5")
    with pytest.raises(DataError, match="A trained plant has no 'tau'; it has: n_layers"):
        make_plant("trained", "bert", tau=3.0)
    options = read_validate_options(["--sets", "trained", "--families", "t5,resnet"])
    with pytest.raises(CircuitsError, match=r"no trained plants of t5, resnet\. Add one of"):
        run_all(options, lambda name: None, lambda done, total: None)
