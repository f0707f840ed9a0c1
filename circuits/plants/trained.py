"""Trained plants: the circuit is where a model was taught to compute, not where it was written.

1. A random mask of edges is drawn and a small model is trained through it, see
   `circuits.plants.trained_model`. The label is an XOR. BERT's pooler can make it of what its
   classifier reads; where the classifier is linear, the mask always holds the last MLP.
2. Edges that the circuit can do without are cut from the mask, the weakest first, and training goes
   on through what is left. A mask is only where a model *may* compute: without this step it does
   the same in several places, each of which alone does nothing.
3. The truth are edges of the mask whose exact effect exceeds the floor, on pairs of their own.

Unlike in written plants nothing is exactly zero. Edges of the mask under the floor are unsettled,
and so are edges outside of it that exceed the floor all the same.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast
from circuits.graph import Graph, reader_node
from circuits.plants.blocks import Blocks
from circuits.plants.plant import Plant, PlantedCircuit, nodes_of, own_seed
from circuits.plants.recipe import NoPlantError, Recipe
from circuits.plants.scaffolds import make_scaffold
from circuits.plants.trained_model import Fit, Schedule, Trainer
from circuits.plants.truth import Bench, draw_pairs
from circuits.plants.wiring import INPUT, Wiring

TRAINED_FAMILIES = ("bert", "gpt2", "vit")
"""Families of trained plants."""

_DRAWS = 6
_FEWEST_EDGES = 6
_RIGHT, _CHANCE = 0.99, 0.15
"""Least share of right answers of the full model and its circuit; most of the complement's beside
one half."""
_MLP_SHARE, _TO_INPUT, _TO_LOGITS = 0.7, 0.2, 0.25
_LINEAR = ("gpt2", "vit")
"""Families whose classifier is linear: it cannot make an XOR of what it reads."""
_NO_BLOCKS = {"embedding_block": 1, "head_block": 1, "mlp_block": 1}


@dataclass(frozen=True)
class TrainedPlant(Plant):
    """A model that was trained through a mask; `wiring` is the mask, as far as it was not cut.

    Attributes:
        drawn: Edges of the mask at first.
        fit: How well it is trained.
    """

    drawn: int
    fit: Fit

    @property
    def blocks(self) -> Blocks:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A trained plant has none.

        Raises:
            DataError: Always.
        """
        raise DataError("Writers of a trained plant have no blocks of the stream of their own.")

    def unread(self) -> frozenset[str]:
        """None: every reader sees everything a little."""
        return frozenset()


def make_trained_plant(family: str = "bert", seed: int = 0, **numbers: float | int) -> TrainedPlant:
    """A plant that is trained through a mask, from a seed.

    One that does not train, or whose true edges are not faithful alone, is drawn again.

    Args:
        family: One of `TRAINED_FAMILIES`.
        seed: Same seed, same plant, on the same machine with one thread.
        numbers: Of `Schedule`, and `n_layers`, `n_heads`, `d_model`, `floor`, `tolerance` and
            `n_pairs` of `Recipe`.

    Raises:
        DataError: If there is no such family or number.
        NoPlantError: If no plant came of the seed.
    """
    if family not in TRAINED_FAMILIES:
        raise DataError(
            f"No trained plants of family {family!r}; expected one of: "
            f"{', '.join(TRAINED_FAMILIES)}."
        )
    recipe, schedule = _read(family, numbers)
    for draw in range(_DRAWS):
        plant = _Trainee(family, seed, recipe, schedule, draw).plant()
        if plant is not None:
            return plant
    raise NoPlantError(
        f"No trained plant came of seed {seed} with these numbers. Try another seed."
    )


def draw_mask(graph: Graph, seed: int, *, with_last_mlp: bool = False) -> frozenset[str]:
    """Random edges that connect the input with the logits through some of the nodes.

    Args:
        graph: Of the model.
        seed: Of the plant.
        with_last_mlp: Whether the last MLP is surely one of them. Nothing reads it but the logits.
    """
    draws = random.Random(seed)
    needed = graph.writers[-1:] if with_last_mlp else ()
    rows: dict[str, list[str]] = {}
    for node in graph.writers:
        rows.setdefault(node.partition(".")[0], []).append(node)
    chosen: list[str] = []
    for nodes in rows.values():
        if len(nodes) > 1:
            chosen += sorted(draws.sample(nodes, draws.choice((2, 3))))
        elif nodes != ["input"] and (draws.random() < _MLP_SHARE or nodes[0] in needed):
            chosen += nodes
    found: set[str] = set()
    for reader, seen in zip(graph.readers, graph.mask, strict=True):
        earlier = [node for node in chosen if seen[graph.writers.index(node)]]
        if reader == "logits":
            read = {edge.partition("->")[0] for edge in found}
            sources = [n for n in chosen if n not in read or draws.random() < _TO_LOGITS]
        elif reader_node(reader) in chosen:
            sources = draws.sample(earlier, min(draws.choice((1, 2)), len(earlier)))
            if not sources or draws.random() < _TO_INPUT:
                sources = [*sources[1:], "input"]
        else:
            continue
        found |= {f"{source}->{reader}" for source in sources}
    return frozenset(found)


class _Trainee:
    def __init__(
        self, family: str, seed: int, recipe: Recipe, schedule: Schedule, draw: int
    ) -> None:
        self.family = family
        self.seed = seed
        self.recipe = recipe
        self.draw = draw
        self.own_seed = own_seed(seed, draw)
        self.scaffold = make_scaffold(family, recipe, f"trained-{family}-{seed}")
        self.graph = Graph.of(self.scaffold.model)
        self.mask = draw_mask(self.graph, self.own_seed, with_last_mlp=family in _LINEAR)
        self.trainer = Trainer(self.scaffold, self.graph, self.mask, schedule, self.own_seed)

    def plant(self) -> TrainedPlant | None:
        self.trainer.train()
        fit = self.trainer.fit()
        chance = abs(fit.complement - 0.5)
        if min(fit.full, fit.circuit) < _RIGHT or chance > _CHANCE:
            return None
        circuits: dict[Contrast, PlantedCircuit] = {
            contrast: self._circuit(contrast) for contrast in CONTRASTS
        }
        for circuit in circuits.values():
            missed = abs(circuit.faithfulness - 1)
            if len(circuit.edges) < _FEWEST_EDGES or missed > self.recipe.tolerance:
                return None
        return TrainedPlant(
            "trained",
            self.family,
            self.seed,
            self.recipe,
            _wiring(self.trainer.edges),
            self.graph,
            circuits,
            self.draw,
            self.scaffold,
            len(self.mask),
            fit,
        )

    def _circuit(self, contrast: Contrast) -> PlantedCircuit:
        pairs = draw_pairs(self.scaffold, contrast, self.recipe.n_pairs, self.own_seed)
        bench = Bench.of(self.scaffold.model, self.graph, pairs)
        effects = bench.effects()
        mask = self.trainer.edges
        strong = {edge for edge, effect in effects.items() if effect >= self.recipe.floor}
        true = frozenset(mask & strong)
        return PlantedCircuit(
            edges=true,
            nodes=nodes_of(true),
            effects={edge: effects[edge] for edge in sorted(mask)},
            unsettled=frozenset(mask ^ strong),
            faithfulness=bench.faithfulness(true),
        )


def _wiring(mask: frozenset[str]) -> Wiring:
    """The mask as who reads whom; of the input a reader sees everything."""
    reads: dict[str, tuple[str, ...]] = {}
    nodes: dict[str, str] = {}
    for edge in sorted(mask):
        writer, _, reader = edge.partition("->")
        seen = INPUT if writer == "input" else (writer,)
        reads[reader] = (*reads.get(reader, ()), *seen)
        if writer != "input":
            nodes[writer] = writer
    return Wiring(reads, nodes, frozenset(nodes))


def _read(family: str, numbers: Mapping[str, float | int]) -> tuple[Recipe, Schedule]:
    sizes: dict[str, int | float] = {
        "n_layers": 2,
        "n_heads": 4,
        "d_model": 64,
        "floor": 0.01,
        "tolerance": 0.1,
        "n_pairs": 48,
    }
    schedule = {field.name: field.default for field in fields(Schedule)}
    unknown = [name for name in numbers if name not in {*sizes, *schedule}]
    if unknown:
        known = ", ".join((*sizes, *schedule))
        raise DataError(f"A trained plant has no {unknown[0]!r}; it has: {known}.")
    given = {name: value for name, value in numbers.items() if name in schedule}
    sizes |= {name: value for name, value in numbers.items() if name in sizes}
    recipe = Recipe(family=family, **_NO_BLOCKS, **sizes)  # pyright: ignore[reportArgumentType]
    return recipe, Schedule(**given)  # pyright: ignore[reportArgumentType]
