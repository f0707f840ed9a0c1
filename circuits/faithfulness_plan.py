"""What has to be run for a measurement of faithfulness, and where each result then is."""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from circuits.circuit import Circuit
from circuits.circuit_runs import CircuitMargins
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.discovery.search import n_of
from circuits.faithfulness_result import NodePair, SizePoint
from circuits.graph import Graph
from circuits.ratios import Ratios
from circuits.selection import By, Kept, first_of, pruned, ranking
from patching.models.nodes import Node

N_RANDOM = 3
"""Random rankings behind the baseline."""


class CircuitPlan:
    """All circuits of one measurement.

    Args:
        runner: Whose pairs they are run on.
        found: Scores of all edges, or one circuit.
        circuit: A circuit that is measured beside the sizes, if any.
        chosen: Units on which edges are ranked.
        by: How.
        percents: Sizes, in percent of all edges.
        most_nodes: Strongest nodes whose pairs are silenced.
        seed: Of the random edges.

    Attributes:
        circuits: Edges that each keeps.
        order: Ranking of all edges.
        sets: Those of each size, then the given circuit.
        sizes: Number of edges of each of these.
    """

    def __init__(
        self,
        runner: EdgeRunner,
        found: EdgeScores | Circuit,
        circuit: Circuit | None,
        chosen: frozenset[str],
        by: By,
        percents: tuple[float, ...],
        most_nodes: int,
        seed: int,
    ) -> None:
        self.runner = runner
        self.circuits: list[Kept] = []
        self.percents = percents
        n = len(runner.graph)
        self.order = (
            _order_of(found, runner.graph)
            if isinstance(found, Circuit)
            else ranking(found.take(chosen), by)
        )
        self.sets = [first_of(self.order, n_of(percent, n)) for percent in percents]
        if circuit is not None:
            self.sets.append(circuit.kept(runner.graph))
        self.sizes = [int(kept.sum()) for kept in self.sets]
        self.kept = self._add(self.sets)
        self.complement = self._add([~kept for kept in self.sets])
        self.random = [
            self._add([first_of(order, k) for k in self.sizes]) for order in _random_orders(n, seed)
        ]
        self.nodes = _strongest_nodes(found, chosen, most_nodes)
        self.silenced = self._add([self._without({node}) for node in self.nodes])
        self.node_pairs = list(combinations(range(len(self.nodes)), 2))
        self.both_silenced = self._add(
            [self._without({self.nodes[i], self.nodes[j]}) for i, j in self.node_pairs]
        )

    @property
    def curves(self) -> tuple[list[list[int]], list[list[int]]]:
        """Columns behind each size: of the circuits, and of the random ones."""
        return [[column] for column in self.kept], [list(c) for c in zip(*self.random, strict=True)]

    def points(self, ratios: Ratios) -> tuple[SizePoint, ...]:
        """What was found at each size, and of the circuit, if one is measured."""
        edges, pairs = self.runner.graph.edges, self.runner.pairs
        kept, random = self.curves
        steps = sorted(set(pairs.steps) - {""})
        return tuple(
            SizePoint(
                percent=100 * self.sizes[i] / len(edges),
                n_edges=self.sizes[i],
                n_connected=int(pruned(edges, self.sets[i]).sum()),
                faithfulness=ratios.share(kept[i]),
                complement=ratios.share([self.complement[i]]),
                random=ratios.share(random[i]),
                steps={
                    step: ratios.share(kept[i], [found == step for found in pairs.steps])
                    for step in steps
                },
            )
            for i in range(len(self.sizes))
        )

    def margins(self, measured: CircuitMargins) -> dict[str, Tensor]:
        """Margins behind the points, as `Faithfulness.margins` keeps them."""
        values = measured.values
        return {
            "clean": measured.clean,
            "corrupted": measured.corrupted,
            "kept": values[:, self.kept],
            "complement": values[:, self.complement],
            "random": torch.stack([values[:, columns] for columns in self.random], dim=-1),
        }

    def redundancy(self, measured: CircuitMargins, ratios: Ratios) -> tuple[NodePair, ...]:
        """Excess of silencing two nodes together over the sum, in units of f."""
        if not self.node_pairs:
            return ()
        drops = (measured.clean[:, None] - measured.values).double().numpy()
        alone, joint = drops[:, self.silenced], drops[:, self.both_silenced]
        first, second = np.array(self.node_pairs).T
        excess = ratios.tested(joint - alone[:, first] - alone[:, second], self.runner.pairs.units)
        return tuple(
            NodePair(self.nodes[i], self.nodes[j], ratios.of(both), beyond, p, q)
            for (i, j), both, (beyond, p, q) in zip(self.node_pairs, joint.T, excess, strict=True)
        )

    def _add(self, circuits: list[Kept]) -> list[int]:
        start = len(self.circuits)
        self.circuits += circuits
        return list(range(start, len(self.circuits)))

    def _without(self, nodes: set[str]) -> Kept:
        edges = self.runner.graph.edges
        return torch.tensor([edge.partition("->")[0] not in nodes for edge in edges])


def _order_of(circuit: Circuit, graph: Graph) -> Tensor:
    """Its edges, the strongest first; then all others."""
    strength = torch.full((len(graph),), -1.0, dtype=torch.float64)
    for edge, score in zip(circuit.edges, circuit.scores, strict=True):
        strength[graph.position[edge]] = abs(score)
    return strength.argsort(descending=True, stable=True)


def _random_orders(n: int, seed: int) -> list[Tensor]:
    generators = (np.random.default_rng((seed, i)) for i in range(N_RANDOM))
    return [torch.from_numpy(generator.permutation(n)) for generator in generators]


def _strongest_nodes(found: EdgeScores | Circuit, chosen: frozenset[str], most: int) -> list[str]:
    """Heads and MLPs, by the size of their score; embeddings are left out."""
    strength: dict[str, float] = {}
    if isinstance(found, Circuit):
        for edge, score in zip(found.edges, found.scores, strict=True):
            writer = edge.partition("->")[0]
            strength[writer] = strength.get(writer, 0.0) + score
    else:
        nodes = found.take(chosen).nodes
        strength = dict(zip(nodes.nodes, nodes.values.double().mean(dim=0).tolist(), strict=True))
    named = [name for name in strength if Node.parse(name).kind != "input"]
    return sorted(named, key=lambda name: -abs(strength[name]))[:most]
