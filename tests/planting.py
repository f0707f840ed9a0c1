"""What must hold for every wired plant, whatever its family."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from behavior.examples import CONTRASTS, Contrast
from circuits.discovery import METHODS
from circuits.plants import Plant, make_plant

N = 24
METHODS_CHECKED = ("eap", "eap_ig_inputs", "exact_edges")
EXACTLY_ZERO = 1e-10


@cache
def plant_of(kind: str, family: str, seed: int = 0, **sizes: int) -> Plant:
    """A plant, made once."""
    return make_plant(kind, family, seed, **sizes)


def shares(plant: Plant, contrast: Contrast, method: str) -> Tensor:
    """Mean size of every edge's score on pairs that the truth was not measured on."""
    scores = METHODS[method](plant.model, plant.pairs(contrast, N))
    return scores.values.abs().mean(dim=0) / (scores.clean - scores.corrupted).mean()


def where(plant: Plant, edges: Any) -> Tensor:
    """Which of the graph's edges are among these."""
    return torch.tensor([edge in edges for edge in plant.graph.edges])


def is_head(node: str) -> bool:
    """Whether a node is a head or a group of channels."""
    return ".h" in node or ".g" in node


def check_unread_and_true_edges(plant: Plant, method: str) -> None:
    """Edges along which nothing is read score nothing, true ones above the floor."""
    unread = where(plant, plant.unread())
    assert unread.sum() > len(plant.graph) / 2
    for contrast in CONTRASTS:
        found = shares(plant, contrast, method)
        assert found[unread].max() < EXACTLY_ZERO
        assert found[plant.truth(contrast)].min() > 0.005


def check_truth_is_faithful(plant: Plant) -> None:
    """The true edges alone answer like the whole model, and the rest does not."""
    for contrast in CONTRASTS:
        circuit = plant.circuits[contrast]
        bench = plant.bench(contrast, N)
        assert bench.faithfulness(circuit.edges) == pytest.approx(1, abs=0.03)
        assert circuit.faithfulness == pytest.approx(1, abs=0.03)
        rest = frozenset(plant.graph.edges) - circuit.edges
        assert abs(bench.faithfulness(rest)) < 0.5


def check_both_circuits(plant: Plant) -> None:
    """Each leads from the input to the logits; they share nodes, but are not the same."""
    core, shortcut = (plant.circuits[contrast] for contrast in CONTRASTS)
    assert core.nodes & shortcut.nodes
    assert core.edges != shortcut.edges
    for circuit in (core, shortcut):
        assert len(circuit.edges) >= 6
        assert any("input->" in edge for edge in circuit.edges)
        assert any(edge.endswith("->logits") for edge in circuit.edges)
        assert circuit.edges <= plant.wiring.edges() <= set(plant.graph.edges)
        assert circuit.nodes <= plant.wiring.circuit
    read = plant.wiring.of("logits")
    assert read
    assert not any("input" in block for block in read)


def check_loud_decoys(plant: Plant) -> None:
    """Heads that are no part of the circuit have outputs of the same length."""
    model, pairs = plant.model, plant.pairs("core", N)
    _, values = model.run_with_cache(pairs.clean, sites=["result"])
    lengths: dict[str, float] = {}
    for row in model.modules.layers:
        for head, result in zip(row.heads, values[row.site("result")].unbind(dim=2), strict=True):
            spread = result - result.mean(dim=(0, 1))
            lengths[str(head)] = float(spread.norm(dim=-1).mean())
    circuit = [lengths[head] for head in plant.wiring.circuit if is_head(head)]
    decoys = [lengths[head] for head in lengths if head not in plant.wiring.circuit]
    assert max(decoys) > sum(circuit) / len(circuit) / 2


def check_even_nodes_mislead(plant: Plant) -> None:
    """They change nothing, but gradients think they do."""
    for contrast in CONTRASTS:
        decoys = torch.tensor(
            [
                writer.endswith("input") and reader in plant.wiring.even
                for writer, _, reader in (edge.partition("->") for edge in plant.graph.edges)
            ]
        )
        assert decoys.sum() == plant.recipe.n_even
        assert shares(plant, contrast, "exact_edges")[decoys].max() <= 0.01
        assert shares(plant, contrast, "eap")[decoys].max() > 0.05
        assert not (decoys & plant.truth(contrast)).any()


def check_rivals_cancel(plant: Plant) -> None:
    """They do nothing together and much alone."""
    everything = frozenset(plant.graph.edges)
    assert len(plant.wiring.rivals) == plant.recipe.n_rivals
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
