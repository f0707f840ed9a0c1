"""The edges of a model's stored circuits, and which of them a filter leaves.

1. Of each circuit the strongest by |score|, so many.
2. Of these, the ones that are read in some ways: as q, k or v, by an MLP, by the classifier.
3. Of these, the ones that touch a node; or all on paths through it, within its circuit.

The page filters by the same three steps.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.layout import reader_of, writer_of
from circuits.compare.reading import branch, circuit_contrasts, is_head, listing

Part = Literal["q", "k", "v", "mlp", "group", "classifier"]
"""How an edge is read; `group` is a group of channels of a ResNet."""

PART_NAMES: Mapping[Part, str] = {
    "q": "q",
    "k": "k",
    "v": "v",
    "mlp": "MLP",
    "group": "channel group",
    "classifier": "classifier",
}

ROW = ("label", "contrast", "writer", "reader", "part", "rank", "strength", "score", "of")
"""What `CircuitEdge.row` holds."""

_NO_INTERVAL = "no interval is stored"


@dataclass(frozen=True, slots=True)
class CircuitEdge:
    """One edge of a circuit.

    Attributes:
        name: Such as `a0.h1->a3.h5<q>`.
        contrast: Of the circuit.
        score: Mean over pairs, in `unit`; without an interval if none is stored.
        unit: Of the score.
        rank: Place by |score| in its circuit, from 1.
        of: Edges of its circuit.
    """

    name: str
    contrast: Contrast
    score: Estimate
    unit: str
    rank: int
    of: int

    @property
    def writer(self) -> str:
        """The node that writes."""
        return writer_of(self.name)

    @property
    def reader(self) -> str:
        """The node that reads."""
        return reader_of(self.name)

    @property
    def value(self) -> float:
        """The score alone."""
        return cast(float, self.score.value)

    @property
    def part(self) -> Part:
        """How it is read."""
        read_as = self.name.partition("<")[2].rstrip(">")
        if read_as:
            return cast(Part, read_as)
        if self.reader == "logits":
            return "classifier"
        return "group" if is_head(self.reader) else "mlp"

    def row(self, owner: str = "") -> list[str | int | float]:
        """Its entry in the figure's `customdata`, by `ROW`; the label is plotly's markup.

        Args:
            owner: Name of the model, put before all names where a figure shows two models.
        """
        label = self.name.replace("->", " \u2192 ").replace("<", "&lt;").replace(">", "&gt;")
        ends = owned(self.writer, owner), owned(self.reader, owner)
        place = (self.contrast, *ends, self.part, self.rank)
        return [owned(label, owner), *place, abs(self.value), self._score_text(), self.of]

    def _score_text(self) -> str:
        text = f"{self.value:+.3g} {self.unit}"
        if self.score.low is not None and self.score.high is not None:
            text += f" ({self.score.low:+.3g} to {self.score.high:+.3g}, n = {self.score.n:,})"
        return text.replace("-", "\u2212")


def circuit_edges(result: Mapping[str, object], role: Role) -> list[CircuitEdge]:
    """All stored edges of the circuits of a model, core first."""
    found: list[CircuitEdge] = []
    for contrast in circuit_contrasts(result, role):
        circuit = branch(result, "models", role, "circuits", contrast, "circuit")
        edges = listing(circuit, "edges")
        sizes = [-abs(cast(float, edge["score"])) for edge in edges]
        order = sorted(range(len(edges)), key=sizes.__getitem__)
        rank = {i: place for place, i in enumerate(order, start=1)}
        unit = str(circuit.get("unit", "logits"))
        found += [
            CircuitEdge(str(edge["edge"]), contrast, _score(edge), unit, rank[i], len(edges))
            for i, edge in enumerate(edges)
        ]
    return found


def parts_of(edges: Sequence[CircuitEdge]) -> tuple[Part, ...]:
    """The ways of reading that there are."""
    present = {edge.part for edge in edges}
    return tuple(part for part in get_args(Part) if part in present)


def owned(name: str, owner: str) -> str:
    """A name with that of its model before it; as it is without one."""
    return f"{owner} {name}" if owner else name


def nodes_of(edges: Sequence[CircuitEdge]) -> set[str]:
    """The nodes that edges touch."""
    return {node for edge in edges for node in (edge.writer, edge.reader)}


def select_edges(
    edges: Sequence[CircuitEdge],
    *,
    most_edges: int | None = None,
    node: str | None = None,
    parts: Collection[str] | None = None,
    whole_paths: bool = False,
) -> list[CircuitEdge]:
    """The edges that a filter leaves; without arguments all.

    Args:
        edges: Of the circuits of one model.
        most_edges: The strongest of each circuit.
        node: Only edges into or out of it.
        parts: Ways of reading, of `Part`.
        whole_paths: With a node: everything upstream and downstream of it as well.

    Raises:
        DataError: If a number, a node or a way of reading makes no sense here.
    """
    _check(edges, most_edges, node, parts)
    kept = [
        edge
        for edge in edges
        if (most_edges is None or edge.rank <= most_edges) and (parts is None or edge.part in parts)
    ]
    if node is None:
        return kept
    if not whole_paths:
        return [edge for edge in kept if node in (edge.writer, edge.reader)]
    found: list[CircuitEdge] = []
    for contrast in dict.fromkeys(edge.contrast for edge in kept):
        found += _through(node, [edge for edge in kept if edge.contrast == contrast])
    return found


def _through(node: str, edges: Sequence[CircuitEdge]) -> list[CircuitEdge]:
    """The edges of one circuit on a path that ends or starts at a node."""
    above = _reached(node, [(edge.writer, edge.reader) for edge in edges])
    below = _reached(node, [(edge.reader, edge.writer) for edge in edges])
    return [edge for edge in edges if edge.writer in above or edge.reader in below]


def _reached(start: str, steps: Sequence[tuple[str, str]]) -> set[str]:
    """A node, and all that can be reached from it."""
    reached, new = {start}, {start}
    while new:
        new = {end for begin, end in steps if begin in new} - reached
        reached |= new
    return reached


def _score(edge: Mapping[str, object]) -> Estimate:
    value, low, high = (cast("float | None", edge.get(key)) for key in ("score", "low", "high"))
    missing = low is None or high is None
    n = cast(int, edge.get("n", 0))
    return Estimate(value, low, high, n, _NO_INTERVAL if missing else None)


def _check(
    edges: Sequence[CircuitEdge],
    most_edges: int | None,
    node: str | None,
    parts: Collection[str] | None,
) -> None:
    if most_edges is not None and most_edges < 1:
        raise DataError(f"most_edges is {most_edges}. Give at least 1.")
    nodes = sorted(nodes_of(edges))
    if node is not None and node not in nodes:
        raise DataError(
            f"No edge of these circuits touches {node!r}. Expected one of: {', '.join(nodes)}."
        )
    unknown = [part for part in parts or () if part not in get_args(Part)]
    if unknown or (parts is not None and not parts):
        found = f"Unknown part: {unknown[0]!r}" if unknown else "No parts given"
        raise DataError(f"{found}. Expected some of: {', '.join(get_args(Part))}.")
