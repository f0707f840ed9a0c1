"""Who reads whom in a plant.

A *block* is what a writer writes into: every node has one, two heads that cancel each other share
one, and an embedding has three (`input:core`, `input:shortcut`, `input:place`). A reader sees the
blocks it is wired to and nothing else. T5 has two embeddings, with a stream of its own each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from behavior.examples import CONTRASTS, Contrast
from circuits.graph import Graph, reader_node

WORDS: tuple[str, ...] = ("core", "shortcut", "place")
"""Kinds of words; other words are read together with the places."""


def words_of(writer: str) -> tuple[str, ...]:
    """The blocks of an embedding."""
    return tuple(f"{writer}:{kind}" for kind in WORDS)


INPUT = words_of("input")
"""The blocks of the embedding where there is only one."""


def inputs_of(graph: Graph) -> tuple[str, ...]:
    """The embeddings among the writers."""
    return tuple(writer for writer in graph.writers if is_input(writer))


def is_input(writer: str) -> bool:
    """Whether a writer is an embedding."""
    return writer.endswith("input")


def is_head(node: str) -> bool:
    """Whether a node is a head, or a group of channels."""
    return node.rpartition(".")[2][0] in "hg"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The blocks that each reader sees, and what each node is there for.

    Attributes:
        reads: Blocks by reader, `a1.h2<q>`; readers that see nothing are left out.
        blocks: Block by writer; an embedding has its own, see `words_of`.
        circuit: Nodes that the answer is made by.
        even: MLPs that answer to both classes alike.
        rivals: Pairs of heads that cancel each other.
    """

    reads: Mapping[str, tuple[str, ...]]
    blocks: Mapping[str, str]
    circuit: frozenset[str]
    even: tuple[str, ...] = ()
    rivals: tuple[tuple[str, str], ...] = ()

    def of(self, reader: str) -> tuple[str, ...]:
        """Blocks that a reader sees."""
        return self.reads.get(reader, ())

    def of_node(self, graph: Graph, node: str) -> tuple[str, ...]:
        """Blocks that any reader of a node sees."""
        return tuple(
            block for name in graph.readers if reader_node(name) == node for block in self.of(name)
        )

    def writers(self, block: str) -> tuple[str, ...]:
        """Who writes into a block."""
        writer, _, kind = block.partition(":")
        if kind:
            return (writer,)
        return tuple(writer for writer, own in self.blocks.items() if own == block)

    def edges(self) -> frozenset[str]:
        """All edges along which something is read."""
        return frozenset(
            f"{writer}->{reader}"
            for reader, seen in self.reads.items()
            for block in seen
            for writer in self.writers(block)
        )

    def designed(self, graph: Graph) -> dict[str, str]:
        """Edges of the nodes that are there to mislead: edge -> `even` or `cancelling`."""
        nodes = dict.fromkeys(self.even, "even")
        nodes |= {head: "cancelling" for pair in self.rivals for head in pair}
        found: dict[str, str] = {}
        for edge in graph.edges:
            writer, _, reader = edge.partition("->")
            why = nodes.get(writer) or nodes.get(reader_node(reader))
            if why is not None:
                found[edge] = why
        return found

    def misleading(self) -> frozenset[str]:
        """Blocks of the nodes that are there to mislead."""
        return frozenset(self.blocks[node] for node in (*self.even, *(a for a, _ in self.rivals)))

    def path(self, graph: Graph, contrast: Contrast) -> frozenset[str]:
        """Edges that carry a contrast from the input to the logits."""
        carrying = self._carrying(graph, contrast)
        used = self._used(graph)
        found: set[str] = set()
        for reader, seen in self.reads.items():
            node = reader_node(reader)
            if node == "logits" or (node in used and node in self.circuit):
                for block in carrying.intersection(seen):
                    found |= {f"{writer}->{reader}" for writer in self.writers(block)}
        return frozenset(found)

    def without(self, edges: "frozenset[str] | set[str]") -> "Wiring":
        """The wiring with some edges cut; all that a reader sees of the input is one edge."""
        reads: dict[str, tuple[str, ...]] = {}
        for reader, seen in self.reads.items():
            cut = {edge.partition("->")[0] for edge in edges if edge.endswith(f"->{reader}")}
            left = tuple(block for block in seen if not cut.intersection(self.writers(block)))
            if left:
                reads[reader] = left
        return replace(self, reads=reads)

    def _carrying(self, graph: Graph, contrast: Contrast) -> set[str]:
        """Blocks of the circuit that differ between the inputs of a pair."""
        found = {f"{writer}:{contrast}" for writer in inputs_of(graph)}
        for node in graph.writers:
            if node in self.circuit and found.intersection(self.of_node(graph, node)):
                found.add(self.blocks[node])
        return found

    def _used(self, graph: Graph) -> set[str]:
        """Nodes from which something reaches the logits."""
        needed = set(self.of("logits"))
        found: set[str] = set()
        for node in reversed(graph.writers):
            if self.blocks.get(node) in needed:
                found.add(node)
                needed.update(self.of_node(graph, node))
        return found


def carries(wiring: Wiring, graph: Graph) -> dict[str, tuple[Contrast, ...]]:
    """The contrasts that each edge of a path serves."""
    found: dict[str, list[Contrast]] = {}
    for contrast in CONTRASTS:
        for edge in sorted(wiring.path(graph, contrast)):
            found.setdefault(edge, []).append(contrast)
    return {edge: tuple(served) for edge, served in found.items()}
