"""Trained plants in GPT-2 and ViT, whose classifiers are linear. BERT's: `test_trained_plants`."""

from collections.abc import Iterator

import pytest
import torch

from behavior.examples import CONTRASTS
from circuits.discovery import METHODS
from circuits.graph import Graph
from circuits.plants import TRAINED_FAMILIES, TrainedPlant, make_plant
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import make_scaffold
from circuits.plants.trained import draw_mask
from circuits.plants.trained_model import Schedule, Trainer

N = 48
TOLERANCE = 0.15
BRIEF = {
    "steps": 220,
    "cut_after": 140,
    "batch": 48,
    "rate": 0.003,
    "warm_up": 30,
    "n_pairs": 24,
}
"""Trained faster than by default."""
SIZES = {
    "n_layers": 2,
    "d_model": 64,
    "embedding_block": 1,
    "head_block": 1,
    "mlp_block": 1,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def graph_of(family: str) -> Graph:
    return Graph.of(make_scaffold(family, Recipe(family=family, **SIZES), "tiny").model)


def test_the_true_edges_of_a_gpt2_alone_answer_like_the_model_on_other_pairs() -> None:
    plant = make_plant("trained", "gpt2", seed=9004, **BRIEF)
    assert isinstance(plant, TrainedPlant)
    assert min(plant.fit.full, plant.fit.circuit) >= 0.99
    assert plant.fit.complement == pytest.approx(0.5, abs=0.15)
    for contrast in CONTRASTS:
        bench = plant.bench(contrast, N)
        assert bench.faithfulness(plant.circuits[contrast].edges) == pytest.approx(1, abs=TOLERANCE)
        rest = frozenset(plant.graph.edges) - plant.wiring.edges()
        assert abs(bench.faithfulness(rest)) < 0.25
        scores = METHODS["exact_edges"](plant.model, plant.pairs(contrast, N))
        sizes = scores.values.abs().mean(dim=0) / bench.range
        assert sizes[plant.truth(contrast)].min() > plant.recipe.floor / 2


@pytest.mark.parametrize("family", TRAINED_FAMILIES)
def test_where_the_classifier_is_linear_the_last_mlp_is_always_in_the_mask(family: str) -> None:
    graph = graph_of(family)
    free = [draw_mask(graph, seed) for seed in range(20)]
    assert any("m1->logits" not in mask for mask in free)
    bound = [draw_mask(graph, seed, with_last_mlp=True) for seed in range(20)]
    assert all("m1->logits" in mask for mask in bound)
    assert all(any(edge.endswith("->m1") for edge in mask) for mask in bound)


def test_a_mask_that_holds_the_last_mlp_by_itself_is_the_same_when_it_must() -> None:
    graph = graph_of("gpt2")
    for seed in range(20):
        mask = draw_mask(graph, seed)
        if "m1->logits" in mask:
            assert draw_mask(graph, seed, with_last_mlp=True) == mask


def test_a_vit_is_trained_on_its_images_alike_from_the_same_seed() -> None:
    trained: list[Trainer] = []
    for _ in range(2):
        scaffold = make_scaffold("vit", Recipe(family="vit", **SIZES), "tiny")
        graph = Graph.of(scaffold.model)
        mask = draw_mask(graph, 3, with_last_mlp=True)
        trained.append(Trainer(scaffold, graph, mask, Schedule(steps=6, cut_after=3, batch=8), 3))
        trained[-1].train()
    weights = [one.model.hf.state_dict() for one in trained]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert all(value.dtype == torch.float64 for value in weights[0].values())
    assert trained[0].edges == trained[1].edges
