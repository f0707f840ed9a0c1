"""One algorithm on one plant and contrast: how well its ranking finds the planted circuit.

Edges are ranked by the mean over pairs of the size of their score. Nodes (heads and MLPs) are
ranked by the same of what their outgoing edges score in sum; where edges were chosen together, by
the strongest of these. Edges and nodes that are neither true nor false are left out.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from behavior.examples import Contrast
from circuits.circuit_runs import measure_circuits
from circuits.discovery import method_of
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.discovery.search import PERCENTS, n_of
from circuits.plants import Plant
from circuits.selection import first_of, ranking

_CHOOSE, _TEST = 1, 2
"""Draws of the pairs that edges are scored on, and that circuits are measured on."""

REFERENCE = "exact_edges"

_FORWARDS = 5
"""That are timed; the median counts."""


@dataclass(frozen=True, slots=True)
class Case:
    """One contrast of one plant.

    Attributes:
        plant: The plant.
        contrast: What differs.
        n_pairs: On which edges are scored.
    """

    plant: Plant
    contrast: Contrast
    n_pairs: int

    def score(self, method: str, **options: Any) -> tuple[EdgeScores, float]:
        """Scores of all edges, and the processor time that they took, in seconds."""
        pairs = self.plant.pairs(self.contrast, self.n_pairs, _CHOOSE)
        start = time.process_time()
        scores = method_of(method)(self.plant.model, pairs, "noise", **options)
        return scores, time.process_time() - start

    def forward_seconds(self) -> float:
        """Processor time of one forward of all clean inputs of the scored pairs, in seconds."""
        inputs = self.plant.pairs(self.contrast, self.n_pairs, _CHOOSE).clean
        found: list[float] = []
        for _ in range(_FORWARDS):
            start = time.process_time()
            self.plant.model.logits(inputs)
            found.append(time.process_time() - start)
        return median(found)

    def measure(self, scores: EdgeScores) -> dict[str, float]:
        """How well the scores find the circuit; see the fields of `METRICS`."""
        truth, settled = self.plant.truth(self.contrast), self.plant.scored(self.contrast)
        edges = _rank(truth[settled].numpy(), edge_strength(scores)[settled].numpy())
        nodes = self.plant.node_truth(self.contrast)
        strength = node_strength(scores)
        ranked = _rank(np.array(list(nodes.values())), np.array([strength[n] for n in nodes]))
        return {
            **{f"edge_{name}": value for name, value in edges.items()},
            **{f"node_{name}": value for name, value in ranked.items() if name != "precision"},
            "cmd": self._cmd(scores),
        }

    def _cmd(self, scores: EdgeScores) -> float:
        """Area over all sizes between the circuits' faithfulness and 1, live, on other pairs."""
        pairs = self.plant.pairs(self.contrast, self.n_pairs, _TEST)
        runner = EdgeRunner(self.plant.model, pairs)
        order, n = ranking(scores), len(scores.edges)
        circuits = [first_of(order, n_of(percent, n)) for percent in PERCENTS]
        found = measure_circuits(runner, circuits)
        gained = (found.values - found.corrupted[:, None]).mean(dim=0)
        shares = gained / (found.clean - found.corrupted).mean()
        return float(np.trapezoid((1 - shares).abs().numpy(), np.array(PERCENTS) / 100))


def edge_strength(scores: EdgeScores) -> Float[Tensor, " edge"]:
    """Mean over pairs of the size of each edge's score."""
    return scores.values.double().abs().mean(dim=0)


def node_strength(scores: EdgeScores) -> dict[str, float]:
    """The same of each writer."""
    if scores.level != "joint":
        nodes = scores.nodes
        sizes = nodes.values.double().abs().mean(dim=0).tolist()
        return dict(zip(nodes.nodes, sizes, strict=True))
    found: dict[str, float] = {}
    for edge, size in zip(scores.edges, edge_strength(scores).tolist(), strict=True):
        writer = edge.partition("->")[0]
        found[writer] = max(size, found.get(writer, 0.0))
    return found


def correlation(scores: EdgeScores, exact: EdgeScores) -> float | None:
    """Pearson's r of the mean scores with the exact effects; None where the unit is another."""
    if scores.unit != exact.unit:
        return None
    both = torch.corrcoef(torch.stack([scores.mean, exact.mean]))
    return float(both[0, 1]) if bool(both.isfinite().all()) else None


def describe_case(case: Case) -> Mapping[str, object]:
    """What was planted."""
    circuit = case.plant.circuits[case.contrast]
    return {
        "edges": len(case.plant.graph),
        "true_edges": len(circuit.edges),
        "unsettled_edges": len(circuit.unsettled),
        "unsettled_unwired_edges": len(circuit.unsettled - case.plant.wiring.edges()),
        "misleading_edges": len(case.plant.designed),
        "true_nodes": len(circuit.nodes),
        "faithfulness_of_truth": circuit.faithfulness,
    }


def _rank(truth: np.ndarray, strength: np.ndarray) -> dict[str, float]:
    """AUROC, average precision, and precision (= recall) at the true size."""
    first = np.argsort(-strength, kind="stable")[: int(truth.sum())]
    return {
        "auroc": float(roc_auc_score(truth, strength)),
        "ap": float(average_precision_score(truth, strength)),
        "precision": float(truth[first].mean()),
    }
