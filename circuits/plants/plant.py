"""`make_plant`: a model whose circuit is known, from a seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from behavior.examples import CONTRASTS, Contrast, Pairs
from circuits.graph import Graph, reader_node
from circuits.plants.blocks import Blocks
from circuits.plants.build import Builder, blocks_of
from circuits.plants.drawing import draw_wiring
from circuits.plants.recipe import NoPlantError, Recipe, recipe_for
from circuits.plants.scaffolds import Scaffold, make_scaffold
from circuits.plants.truth import Bench, draw_pairs
from circuits.plants.wiring import Wiring, carries
from patching.models.model import PatchableModel

_ROUNDS, _DRAWS = 12, 20
_FEWEST_EDGES = 6

_Effects = dict[Contrast, dict[str, float]]


@dataclass(frozen=True)
class PlantedCircuit:
    """The truth about one contrast.

    Attributes:
        edges: What the answer is made along; each matters by itself, by at least the floor.
        nodes: Heads and MLPs that these edges touch.
        effects: What cutting each wired edge of the path alone changes, as a share of the range.
        unsettled: Edges that are neither true nor false: wired but below the floor, or read only
            faintly, by the background, and still above it.
        faithfulness: Share of the range that the true edges carry by themselves, live.
    """

    edges: frozenset[str]
    nodes: frozenset[str]
    effects: Mapping[str, float]
    unsettled: frozenset[str]
    faithfulness: float


@dataclass(frozen=True)
class Plant:
    """A model whose circuit is known.

    Attributes:
        kind: What is hidden in it.
        family: Of the model.
        seed: From which all of it follows.
        recipe: Its numbers.
        wiring: Who reads whom.
        graph: Of the model.
        circuits: The truth, by contrast.
        draws: How many plants were drawn until one served.
        scaffold: The model and how to make inputs for it.
    """

    kind: str
    family: str
    seed: int
    recipe: Recipe
    wiring: Wiring
    graph: Graph
    circuits: Mapping[Contrast, PlantedCircuit]
    draws: int
    scaffold: Scaffold = field(repr=False)

    @property
    def model(self) -> PatchableModel:
        """The model."""
        return self.scaffold.model

    @cached_property
    def blocks(self) -> Blocks:
        """The part of the stream that each writer has for itself."""
        return blocks_of(self.recipe, self.wiring, own_seed(self.seed, self.draws))

    @cached_property
    def designed(self) -> Mapping[str, str]:
        """Edges of nodes that are there to mislead, all false: edge -> `even` or `cancelling`."""
        return self.wiring.designed(self.graph)

    def pairs(self, contrast: Contrast, n: int = 64, seed: int = 1) -> Pairs[Any]:
        """Pairs of one contrast, from another draw than those the truth was measured on."""
        return draw_pairs(self.scaffold, contrast, n, own_seed(self.seed, self.draws) + seed + 1)

    def bench(self, contrast: Contrast, n: int = 64, seed: int = 1) -> Bench:
        """The same pairs, ready for live circuits."""
        return Bench.of(self.model, self.graph, self.pairs(contrast, n, seed))

    def truth(self, contrast: Contrast) -> Bool[Tensor, " edge"]:
        """Which edges are true."""
        return self.graph.kept(self.circuits[contrast].edges)

    def scored(self, contrast: Contrast) -> Bool[Tensor, " edge"]:
        """Which edges are true or false; the rest is unsettled."""
        return ~self.graph.kept(self.circuits[contrast].unsettled)

    def unread(self) -> frozenset[str]:
        """Edges along which nothing is read."""
        return frozenset(self.graph.edges) - self.wiring.edges()

    def node_truth(self, contrast: Contrast) -> dict[str, bool]:
        """Heads and MLPs that are surely in the circuit, or surely not."""
        circuit = self.circuits[contrast]
        unsure = nodes_of(circuit.unsettled) - circuit.nodes
        nodes = (node for node in self.graph.writers if not node.endswith("input"))
        return {node: node in circuit.nodes for node in nodes if node not in unsure}


def make_plant(kind: str, family: str = "bert", seed: int = 0, **sizes: float | int) -> Plant:
    """A model whose circuit is known, from a seed.

    Weights are written, nothing is trained. Edges that turn out not to matter are cut and the plant
    is written again, until all that is left matters; if the rest is no circuit worth finding, the
    next plant is drawn from the same seed. Of `trained` plants, see `circuits.plants.trained`.

    Args:
        kind: `wired`, `even`, `cancelling`, `hard` or `trained`; see `circuits.plants`.
        family: `bert`, `gpt2`, `vit`, `t5` or `resnet`.
        seed: Same seed, same plant.
        sizes: Other numbers than the recipe's; see `Recipe`.

    Raises:
        DataError: If there is no such kind, family or number.
        NoPlantError: If no plant came of the seed.
    """
    if kind == "trained":
        from circuits.plants.trained import make_trained_plant  # noqa: PLC0415  (imports this file)

        return make_trained_plant(family, seed, **sizes)
    recipe = recipe_for(kind, family, **sizes)
    for draw in range(_DRAWS):
        plant = _Gardener(kind, family, seed, recipe, draw).plant()
        if plant is not None:
            return plant
    raise NoPlantError(f"No {kind} plant came of seed {seed} with these numbers. Try another seed.")


class _Gardener:
    def __init__(self, kind: str, family: str, seed: int, recipe: Recipe, draw: int) -> None:
        self.kind = kind
        self.family = family
        self.seed = seed
        self.recipe = recipe
        self.draw = draw
        self.own_seed = own_seed(seed, draw)
        self.scaffold = make_scaffold(family, recipe, f"{kind}-{family}-{seed}")
        self.graph = Graph.of(self.scaffold.model)

    def plant(self) -> Plant | None:
        wiring = draw_wiring(self.recipe, self.graph, self.own_seed)
        for _ in range(_ROUNDS):
            Builder(self.scaffold, self.graph, self.recipe, wiring, self.own_seed).build()
            benches: dict[Contrast, Bench] = {
                contrast: self._bench(contrast) for contrast in CONTRASTS
            }
            served = carries(wiring, self.graph)
            effects: _Effects = {contrast: bench.effects() for contrast, bench in benches.items()}
            weak = {
                edge
                for edge, contrasts in served.items()
                if max(effects[contrast][edge] for contrast in contrasts) < self.recipe.floor
            }
            if not weak:
                return self._judge(wiring, benches, effects)
            wiring = wiring.without(weak)
        return None

    def _bench(self, contrast: Contrast) -> Bench:
        pairs = draw_pairs(self.scaffold, contrast, self.recipe.n_pairs, self.own_seed)
        return Bench.of(self.scaffold.model, self.graph, pairs)

    def _judge(
        self,
        wiring: Wiring,
        benches: Mapping[Contrast, Bench],
        effects: _Effects,
    ) -> Plant | None:
        circuits: dict[Contrast, PlantedCircuit] = {
            contrast: self._circuit(wiring, benches[contrast], effects[contrast])
            for contrast in CONTRASTS
        }
        for circuit in circuits.values():
            missed = abs(circuit.faithfulness - 1)
            if len(circuit.edges) < _FEWEST_EDGES or missed > self.recipe.tolerance:
                return None
        return Plant(
            self.kind,
            self.family,
            self.seed,
            self.recipe,
            wiring,
            self.graph,
            circuits,
            self.draw,
            self.scaffold,
        )

    def _circuit(
        self, wiring: Wiring, bench: Bench, effects: Mapping[str, float]
    ) -> PlantedCircuit:
        path = wiring.path(self.graph, bench.pairs.contrast)
        strong = {edge for edge, effect in effects.items() if effect >= self.recipe.floor}
        true = path & strong
        return PlantedCircuit(
            edges=true,
            nodes=nodes_of(true),
            effects={edge: effects[edge] for edge in sorted(path)},
            unsettled=(path | strong) - true - set(wiring.designed(self.graph)),
            faithfulness=bench.faithfulness(true),
        )


def nodes_of(edges: frozenset[str]) -> frozenset[str]:
    """Heads and MLPs that edges touch."""
    ends = {end for edge in edges for end in edge.split("->")}
    return frozenset(
        reader_node(end) for end in ends if not end.endswith("input") and end != "logits"
    )


def own_seed(seed: int, draw: int) -> int:
    """The seed of one draw; those of its pairs follow it."""
    return seed * 10_007 + draw * 101
