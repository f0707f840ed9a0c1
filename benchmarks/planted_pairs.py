"""Copies of plants with one known change: effects before and after, and the true differences."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Literal

import numpy as np
import torch

from behavior.errors import DataError
from circuits.compare.causal.basis import stream_basis
from circuits.compare.causal.origin import node_distances, origin_of, same_place
from circuits.compare.changes import NodeGroup
from circuits.compare.diff import ModelEffects
from circuits.graph import reader_node
from circuits.plants import Plant, changes, make_plant
from patching import Effects, patch_nodes
from patching.models.model import PatchableModel

Change = Literal["scaled", "silenced", "edge cut", "fused", "permuted and scaled"]

FAMILIES = ("bert", "gpt2")
ALPHAS = (0.5, 0.8, 1.2, 1.5)
_REFERENCE = 100
"""Further inputs, whose mean a silenced head writes and the reader of a cut edge sees."""


@dataclass(frozen=True)
class Copy:
    """A student that differs from a plant in one known way.

    Attributes:
        change: What was done.
        model: The student.
        own: Nodes of the student that answer differently themselves.
        moved: Where a head of the teacher is in the student, if elsewhere.
        fused: Two heads of the teacher that are one in the student, the first of them.
        alpha: Of a scaled head.
    """

    change: Change
    model: PatchableModel
    own: frozenset[str]
    moved: Mapping[str, str] = field(default_factory=dict[str, str])
    fused: tuple[str, ...] = ()
    alpha: float = 1.0


class PlantedPairs:
    """One plant, the pairs it is measured on, and students made from it.

    Pairs of a plant are the strongest third of a pool. So all are drawn at once, and those that the
    diff sees are a random sample of them: apart from the truth they would share an error, which no
    interval over pairs can know.

    Args:
        family: Of the plant.
        seed: Of the plant, the choices and the permutations.
        n_pairs: That the diff sees.
        n_others: That the true differences are estimated on.
    """

    def __init__(self, family: str, seed: int, n_pairs: int, n_others: int) -> None:
        self.plant: Plant = make_plant("wired", family, seed)
        self.name = f"{family} {seed}"
        self.nodes = (*self.plant.model.spec.heads, *self.plant.model.spec.mlps)
        self.seed = seed
        drawn = self.plant.pairs("core", n_pairs + n_others)
        order = np.random.default_rng(seed).permutation(len(drawn)).tolist()
        self.pairs = drawn.take(order[:n_pairs])
        self.others = drawn.take(order[n_pairs:])
        self.reference = self.plant.pairs("core", _REFERENCE, seed=2).clean

    @cached_property
    def before(self) -> Effects:
        """Effects in the plant, on the pairs of the diff."""
        return patch_nodes(self.plant.model, self.pairs, self.nodes)

    def after(self, copy: Copy) -> Effects:
        """Effects in a student, on the same pairs."""
        return patch_nodes(copy.model, self.pairs, self.nodes)

    @cached_property
    def _true_before(self) -> Mapping[str, float]:
        return self._true_shares(self.plant.model, sorted(self.plant.wiring.circuit))

    def groups(self, copy: Copy) -> list[NodeGroup]:
        """The correspondence, which is known."""
        alone = [node for node in self.nodes if node not in copy.fused]
        groups = [NodeGroup((node,), (copy.moved.get(node, node),)) for node in alone]
        return groups + ([NodeGroup(copy.fused, copy.fused[:1])] if copy.fused else [])

    def true_differences(self, copy: Copy) -> list[float]:
        """[group] difference of the shares of the total range, on the other pairs.

        Nodes outside the plant's circuit reach no logit in either model: their difference is 0.
        """
        circuit, groups = self.plant.wiring.circuit, self.groups(copy)
        of_circuit = [group for group in groups if circuit.intersection(group.teacher)]
        names = sorted({node for group in of_circuit for node in group.student})
        after, before = self._true_shares(copy.model, names), self._true_before
        return [
            sum(after.get(node, 0.0) for node in group.student)
            - sum(before.get(node, 0.0) for node in group.teacher)
            for group in groups
        ]

    def own_nodes(self, copy: Copy) -> frozenset[str]:
        """Nodes of a student that are found to answer differently."""
        teacher, inputs = self.plant.model, self.reference
        basis = stream_basis(teacher, copy.model, inputs)
        if not basis.shared:
            return frozenset()
        moved = {student: node for node, student in copy.moved.items()}
        places = same_place(copy.model, teacher, basis)
        counterparts = {node: moved.get(node, other) for node, other in places.items()}
        distances = node_distances(teacher, copy.model, basis, counterparts, inputs)
        return frozenset(node for node, far in distances.items() if origin_of(far) == "own")

    def permuted(self, n: int) -> Iterator[Copy]:
        """Students with the heads of one row in another order, and their values rotated."""
        choose = random.Random(f"permuted {self.seed}")
        for number in range(n):
            model, moved = self._permute(choose, number)
            yield Copy("permuted and scaled", model, frozenset(), moved)

    def copies(self) -> Iterator[Copy]:
        """17 students: 8 scaled, 3 silenced, 3 with an edge cut, 1 fused, 2 permuted and scaled."""
        plant, model = self.plant, self.plant.model
        choose = random.Random(f"changes {self.seed}")
        heads = [head for head in model.spec.heads if head in plant.circuits["core"].nodes]
        choose.shuffle(heads)
        first = next((head for head in heads if self.is_read_by_classifier_alone(head)), heads[0])
        second = next(head for head in heads if head != first)
        for head in (first, second):
            for alpha in ALPHAS:
                scaled = changes.scale_head(model, head, alpha)
                yield Copy("scaled", scaled, frozenset({head}), alpha=alpha)
        for head in heads[:3]:
            silent = changes.silence_head(model, head, self.reference)
            yield Copy("silenced", silent, frozenset({head}))
        edges = [e for e in sorted(plant.circuits["core"].edges) if not e.endswith("logits")]
        for edge in choose.sample(edges, 3):
            cut = changes.cut_edge(plant, edge, self.reference)
            yield Copy("edge cut", cut, frozenset({reader_node(edge.partition("->")[2])}))
        yield from self._fused(heads)
        for number, alpha in enumerate((0.5, 1.5)):
            permuted, moved = self._permute(choose, number)
            head = choose.choice(heads)
            place = moved.get(head, head)
            scaled = changes.scale_head(permuted, place, alpha)
            yield Copy("permuted and scaled", scaled, frozenset({place}), moved, alpha=alpha)

    def is_read_by_classifier_alone(self, head: str) -> bool:
        """Whether nothing but the classifier reads what a head writes."""
        readers = {e.partition("->")[2] for e in self.plant.wiring.edges() if _writes(head, e)}
        return readers == {"logits"}

    def _fused(self, heads: Sequence[str]) -> Iterator[Copy]:
        for one in heads:
            row = one.partition(".")[0]
            for other in self.plant.model.spec.heads:
                if other != one and other.partition(".")[0] == row:
                    try:
                        model = changes.fuse_heads(self.plant.model, one, other)
                    except DataError:
                        continue
                    yield Copy("fused", model, frozenset({one, other}), fused=(one, other))
                    return

    def _permute(self, choose: random.Random, number: int) -> tuple[PatchableModel, dict[str, str]]:
        layer, n = choose.randrange(self.plant.model.spec.n_layers), self.plant.recipe.n_heads
        order = next(
            order
            for order in (choose.sample(range(n), n) for _ in count())
            if order != sorted(order)
        )
        row = f"a{layer}"
        model = changes.permute_heads(self.plant.model, row, order, seed=self.seed + number)
        return model, {f"{row}.h{old}": f"{row}.h{new}" for new, old in enumerate(order)}

    def _true_shares(self, model: PatchableModel, nodes: Sequence[str]) -> dict[str, float]:
        found = patch_nodes(model, self.others, nodes)
        means = found.values.mean(dim=0) / (found.clean - found.corrupted).mean()
        return dict(zip(nodes, means.tolist(), strict=True))


def sides_of(effects: Effects) -> ModelEffects:
    """Effects with the range of each pair: clean minus corrupted."""
    ranges = (effects.clean - effects.corrupted).tolist()
    return ModelEffects({"core": effects}, dict(zip(effects.units, ranges, strict=True)))


def in_groups(effects: Effects, groups: Sequence[Sequence[str]], names: Sequence[str]) -> Effects:
    """Sums over groups of nodes, under other names."""
    columns = [[effects.nodes.index(node) for node in group] for group in groups]
    values = torch.stack([effects.values[:, chosen].sum(dim=1) for chosen in columns], dim=1)
    return replace(effects, values=values, nodes=tuple(names))


def mean_effect(effects: Effects, node: str) -> float:
    """Mean over pairs, in logits."""
    return float(np.mean(effects.node(node).double().numpy()))


def _writes(head: str, edge: str) -> bool:
    return edge.startswith(f"{head}->")
