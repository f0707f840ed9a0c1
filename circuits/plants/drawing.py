"""Draws the wiring of a plant from its seed."""

import random
from collections.abc import Sequence
from itertools import cycle

from circuits.graph import Graph, reader_node
from circuits.plants.recipe import Recipe
from circuits.plants.wiring import INPUT, Wiring

_MLP_SHARE = 0.7
"""Of MLPs that are in the circuit."""
_TO_INPUT = 0.2
"""How often a later node reads the embedding instead of another node."""
_TO_LOGITS = 0.25
"""How often a node that others read is read by the classifier, too."""
_ROLES = (("core",), ("shortcut",), ("core", "shortcut"))
_READ_EVEN, _READ_RIVALS, _READ_BY_DECOY = 3, 2, 3


def draw_wiring(recipe: Recipe, graph: Graph, seed: int) -> Wiring:
    """A circuit for both contrasts with shared heads, decoys, and what the recipe hides.

    Args:
        recipe: Of the plant.
        graph: Of its model.
        seed: Of the plant.
    """
    return _Drawer(recipe, graph, random.Random(seed)).wiring()


class _Drawer:
    def __init__(self, recipe: Recipe, graph: Graph, draws: random.Random) -> None:
        self.recipe = recipe
        self.graph = graph
        self.draws = draws
        self.reads: dict[str, tuple[str, ...]] = {}
        self.blocks: dict[str, str] = {}
        self.circuit: list[str] = []
        self.even: list[str] = []
        self.rivals: list[tuple[str, str]] = []

    def wiring(self) -> Wiring:
        self._choose()
        roles = cycle(self.draws.sample(_ROLES, len(_ROLES)))
        for node in self.graph.writers:
            if node in self.circuit:
                self._wire(node, _first_row(node, self.graph), next(roles))
        self._read_out()
        for pair in self.rivals:
            self._wire_rivals(pair)
        for mlp in self.even:
            self.reads[mlp] = ("input:core", "input:shortcut")
            self._offer(mlp, _READ_EVEN, parts=("<k>", "<v>"))
        self._wire_decoys()
        return Wiring(
            self.reads, self.blocks, frozenset(self.circuit), tuple(self.even), tuple(self.rivals)
        )

    def _choose(self) -> None:
        """Which nodes make the answer, and which mislead."""
        for layer, heads in enumerate(self._rows()):
            rivals = layer < self.recipe.n_rivals
            n = 2 if rivals else self.draws.choice((2, 3))
            chosen = self.draws.sample(heads, n)
            others = [head for head in heads if head not in chosen]
            if rivals:
                self.rivals.append((others[0], others[1]))
            self.circuit += sorted(chosen)
            mlp = f"m{layer}"
            if layer < self.recipe.n_even:
                self.even.append(mlp)
            elif self.draws.random() < _MLP_SHARE:
                self.circuit.append(mlp)
        for node in self.graph.writers:
            if node != "input":
                self.blocks[node] = node
        for first, second in self.rivals:
            self.blocks[first] = self.blocks[second] = f"{first}+{second}"

    def _rows(self) -> list[list[str]]:
        names = [node for node in self.graph.writers if ".h" in node]
        n = self.recipe.n_heads
        return [names[start : start + n] for start in range(0, len(names), n)]

    def _wire(self, node: str, first_row: bool, role: tuple[str, ...]) -> None:
        """Let each reader of a node of the circuit see one or two earlier ones of it."""
        earlier = [one for one in self.circuit if self._before(one, node)]
        for reader in self._readers(node):
            sources = [] if first_row else self._pick(earlier)
            if not sources or self.draws.random() < _TO_INPUT:
                mine = role if first_row else self.draws.choice(_ROLES)
                sources = [*sources[1:], *(f"input:{kind}" for kind in mine)]
                if reader.endswith(("<q>", "<k>")):
                    sources.append("input:place")
            self.reads[reader] = tuple(sources)

    def _pick(self, nodes: Sequence[str]) -> list[str]:
        n = min(self.draws.choice((1, 2)), len(nodes))
        return [self.blocks[node] for node in self.draws.sample(list(nodes), n)]

    def _read_out(self) -> None:
        read = {block for seen in self.reads.values() for block in seen}
        out = [
            self.blocks[node]
            for node in self.circuit
            if self.blocks[node] not in read or self.draws.random() < _TO_LOGITS
        ]
        self.reads["logits"] = tuple(out)

    def _wire_rivals(self, pair: tuple[str, str]) -> None:
        """Both read the same; what they read is wired once, under the name of the first."""
        first, second = pair
        earlier = [one for one in self.circuit if self._before(one, first)]
        for reader, twin in zip(self._readers(first), self._readers(second), strict=True):
            sources = ["input:core", "input:shortcut"]
            if earlier and not _first_row(first, self.graph):
                sources = self._pick(earlier)
            if reader.endswith(("<q>", "<k>")):
                sources.append("input:place")
            self.reads[reader] = self.reads[twin] = tuple(sources)
        self._offer(first, _READ_RIVALS, parts=("<v>", "m"))

    def _offer(self, writer: str, n: int, parts: tuple[str, ...]) -> None:
        """Let some later readers of the circuit see a node that misleads."""
        later = [
            reader
            for reader in self.graph.readers
            if reader_node(reader) in self.circuit
            and self._before(writer, reader_node(reader))
            and (reader.endswith(parts) or reader.startswith(parts))
        ]
        for reader in self.draws.sample(later, min(n, len(later))):
            self.reads[reader] = (*self.reads[reader], self.blocks[writer])

    def _wire_decoys(self) -> None:
        misleading = {*self.even, *(head for pair in self.rivals for head in pair)}
        decoys = [node for node in self.blocks if node not in {*self.circuit, *misleading}]
        for node in decoys:
            earlier = [
                one for one in (*self.circuit, *decoys) if one != node and self._before(one, node)
            ]
            for reader in self._readers(node):
                n = self.draws.randint(1, _READ_BY_DECOY)
                choices = [*(self.blocks[one] for one in earlier), *INPUT]
                self.reads[reader] = tuple(self.draws.sample(choices, min(n, len(choices))))

    def _readers(self, node: str) -> list[str]:
        return [reader for reader in self.graph.readers if reader_node(reader) == node]

    def _before(self, writer: str, node: str) -> bool:
        """Whether a node can read a writer."""
        reader = self._readers(node)[0]
        column = self.graph.writers.index(writer)
        return bool(self.graph.mask[self.graph.readers.index(reader), column])


def _first_row(node: str, graph: Graph) -> bool:
    """Whether a node is a head that can see nothing but the embedding."""
    row = next(i for i, name in enumerate(graph.readers) if reader_node(name) == node)
    return int(graph.mask[row].sum()) == 1
