"""Where the nodes of a circuit stand: levels from the inputs below to the logits above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuits.compare.reading import is_head

INPUT_LEVEL = "input"
LEVEL_HEIGHT = 26
"""Pixels."""


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """Places of all nodes of a model.

    Attributes:
        places: (x, y) of each node; x from -1 to 1, y the number of its level.
        levels: Names of the levels, from below.
    """

    places: Mapping[str, tuple[float, float]]
    levels: tuple[str, ...]


def place_nodes(edges: Sequence[str]) -> NodeLayout:
    """Places from the names of all edges of a model, reader by reader.

    A level holds the heads of one row, or one MLP; all inputs stand side by side on the lowest.
    """
    readers = dict.fromkeys(reader_of(edge) for edge in edges)
    inputs = [name for name in dict.fromkeys(map(writer_of, edges)) if name not in readers]
    by_level: dict[str, list[str]] = {INPUT_LEVEL: inputs}
    for name in (*(name for name in readers if name != "logits"), "logits"):
        by_level.setdefault(_level_of(name), []).append(name)
    widest = max(map(len, by_level.values()))
    places = {
        name: (_across(i, len(names), widest), float(y))
        for y, names in enumerate(by_level.values())
        for i, name in enumerate(names)
    }
    return NodeLayout(places, tuple(by_level))


def writer_of(edge: str) -> str:
    """The node that writes, such as `a0.h1` in `a0.h1->a3.h5<q>`."""
    return edge.partition("->")[0]


def reader_of(edge: str) -> str:
    """The node that reads, such as `a3.h5` in `a0.h1->a3.h5<q>`."""
    return edge.partition("->")[2].partition("<")[0]


def _level_of(node: str) -> str:
    return node.rpartition(".")[0] if is_head(node) else node


def _across(i: int, n: int, widest: int) -> float:
    """Evenly apart, in the middle; one step is as wide on every level."""
    return 0.0 if widest < 2 else (2 * i - (n - 1)) / (widest - 1)
