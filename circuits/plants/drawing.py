"""Draws the wiring of a plant from its seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

from circuits.graph import Graph, reader_node
from circuits.plants.recipe import Recipe
from circuits.plants.wiring import Wiring, is_head, is_input, words_of

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


@dataclass
class _Row:
    """Heads that write together, and the MLP that follows them, if there is one."""

    heads: list[str] = field(default_factory=list[str])
    mlp: str | None = None


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
        self.seen = {
            reader: [writer for writer, sees in zip(graph.writers, row, strict=True) if sees]
            for reader, row in zip(graph.readers, graph.mask.tolist(), strict=True)
        }

    def wiring(self) -> Wiring:
        self._choose()
        roles = cycle(self.draws.sample(_ROLES, len(_ROLES)))
        for node in self.graph.writers:
            if node in self.circuit:
                self._wire(node, next(roles) if self._is_first(self._readers(node)[0]) else None)
        self._read_out()
        for pair in self.rivals:
            self._wire_rivals(pair)
        for node in self.even:
            self._wire_even(node)
        self._wire_decoys()
        return Wiring(
            self.reads, self.blocks, frozenset(self.circuit), tuple(self.even), tuple(self.rivals)
        )

    def _choose(self) -> None:
        """Which nodes make the answer, and which mislead."""
        rows = self._rows()
        has_mlps = any(row.mlp for row in rows)
        for i, row in enumerate(rows):
            rivals = i < self.recipe.n_rivals
            least = max(2, self.recipe.n_heads // 2)
            n = least if rivals else self.draws.choice((least, least + 1))
            chosen = self.draws.sample(row.heads, n)
            others = [head for head in row.heads if head not in chosen]
            if rivals:
                self.rivals.append((others[0], others[1]))
            self.circuit += sorted(chosen)
            if not has_mlps and len(self.even) < self.recipe.n_even:
                self.even.append(others[-1])
            self._choose_mlp(row.mlp)
        for node in self.graph.writers:
            if not is_input(node):
                self.blocks[node] = node
        for first, second in self.rivals:
            self.blocks[first] = self.blocks[second] = f"{first}+{second}"

    def _choose_mlp(self, mlp: str | None) -> None:
        if mlp is None:
            return
        if len(self.even) < self.recipe.n_even:
            self.even.append(mlp)
        elif self.draws.random() < _MLP_SHARE:
            self.circuit.append(mlp)

    def _rows(self) -> list[_Row]:
        found: dict[str, _Row] = {}
        last = _Row()
        for node in self.graph.writers:
            if is_head(node):
                last = found.setdefault(node.rpartition(".")[0], _Row())
                last.heads.append(node)
            elif not is_input(node):
                last.mlp = node
        return list(found.values())

    def _wire(self, node: str, role: tuple[str, ...] | None) -> None:
        """Let each reader of a node of the circuit see one or two earlier ones of it."""
        for reader in self._readers(node):
            earlier = self._earlier(reader)
            sources = self._pick(earlier) if earlier else []
            if not sources or self.draws.random() < _TO_INPUT:
                words = self._words(reader)
                mine = role if role is not None else self.draws.choice(_ROLES)
                sources = [*sources[1:], *(block for block in words[:2] if _kind(block) in mine)]
                if _part(reader) in ("q", "k"):
                    sources.append(words[2])
            self.reads[reader] = tuple(sources)

    def _pick(self, nodes: Sequence[str]) -> list[str]:
        n = min(self.draws.choice((1, 2)), len(nodes))
        return [self.blocks[node] for node in self.draws.sample(list(nodes), n)]

    def _read_out(self) -> None:
        """What nobody reads, and some of the rest, goes to the classifier, or on to the decoder."""
        read = {block for seen in self.reads.values() for block in seen}
        out: list[str] = []
        for node in self.circuit:
            block = self.blocks[node]
            if node not in self.seen["logits"]:
                if block not in read:
                    self._offer(node, 1, parts=("v",))
            elif block not in read or self.draws.random() < _TO_LOGITS:
                out.append(block)
        self.reads["logits"] = tuple(out)

    def _wire_rivals(self, pair: tuple[str, str]) -> None:
        """Both read the same; what they read is wired once, under the name of the first."""
        first, second = pair
        for reader, twin in zip(self._readers(first), self._readers(second), strict=True):
            earlier, words = self._earlier(reader), self._words(reader)
            sources = self._pick(earlier) if earlier else list(words[:2])
            if _part(reader) in ("q", "k"):
                sources.append(words[2])
            self.reads[reader] = self.reads[twin] = tuple(sources)
        self._offer(first, _READ_RIVALS, parts=("v", ""))

    def _wire_even(self, node: str) -> None:
        (reader,) = self._readers(node)
        self.reads[reader] = self._words(reader)[:2]
        # Where heads have no parts, there are no MLPs, either.
        self._offer(node, _READ_EVEN, parts=("",) if is_head(node) else ("k", "v"))

    def _offer(self, writer: str, n: int, parts: tuple[str, ...]) -> None:
        """Let some later readers of the circuit see a node."""
        later = [
            reader
            for reader in self.graph.readers
            if reader_node(reader) in self.circuit
            and writer in self.seen[reader]
            and _part(reader) in parts
        ]
        for reader in self.draws.sample(later, min(n, len(later))):
            self.reads[reader] = (*self.reads[reader], self.blocks[writer])

    def _wire_decoys(self) -> None:
        misleading = {*self.even, *(head for pair in self.rivals for head in pair)}
        decoys = [node for node in self.blocks if node not in {*self.circuit, *misleading}]
        for node in decoys:
            for reader in self._readers(node):
                n = self.draws.randint(1, _READ_BY_DECOY)
                earlier = [one for one in (*self.circuit, *decoys) if one in self.seen[reader]]
                choices = [*(self.blocks[one] for one in earlier), *self._words(reader)]
                self.reads[reader] = tuple(self.draws.sample(choices, min(n, len(choices))))

    def _readers(self, node: str) -> list[str]:
        return [reader for reader in self.graph.readers if reader_node(reader) == node]

    def _earlier(self, reader: str) -> list[str]:
        """Nodes of the circuit that a reader sees."""
        return [node for node in self.circuit if node in self.seen[reader]]

    def _words(self, reader: str) -> tuple[str, ...]:
        """What a reader sees of the embedding of its stream."""
        return words_of(self.seen[reader][0])

    def _is_first(self, reader: str) -> bool:
        """Whether a reader sees nothing but an embedding."""
        return len(self.seen[reader]) == 1


def _part(reader: str) -> str:
    """`q`, `k` or `v`; empty for MLPs and groups of channels."""
    return reader.partition("<")[2].rstrip(">")


def _kind(block: str) -> str:
    return block.partition(":")[2]
