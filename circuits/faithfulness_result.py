"""What `faithfulness` returns, and how it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.circuit import write_json

SCHEMA_VERSION = 1
_SMALL_Q = 0.05


@dataclass(frozen=True, slots=True)
class SizePoint:
    """Circuits of one size.

    Attributes:
        percent: Their share of all edges.
        n_edges: Edges that were kept.
        n_connected: Of these, edges that are no dead ends.
        faithfulness: f of the circuit alone.
        complement: f of all other edges alone; near 0 where the circuit is complete.
        random: f of as many random edges.
        steps: f by the cells of the pair, such as `A->C`; empty without quads.
        frozen: f with gates frozen (`circuits.frozen`), a diagnostic; None if it was not asked for.
    """

    percent: float
    n_edges: int
    n_connected: int
    faithfulness: Estimate
    complement: Estimate
    random: Estimate
    steps: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    frozen: Estimate | None = None

    def to_json(self) -> dict[str, object]:
        """All fields."""
        return {
            "percent": self.percent,
            "n_edges": self.n_edges,
            "n_connected": self.n_connected,
            "faithfulness": self.faithfulness.to_json(),
            "complement": self.complement.to_json(),
            "random": self.random.to_json(),
            "steps": {step: found.to_json() for step, found in self.steps.items()},
            "frozen": None if self.frozen is None else self.frozen.to_json(),
        }


@dataclass(frozen=True, slots=True)
class EdgeNeed:
    """What one edge of a circuit adds.

    Attributes:
        edge: Its name.
        drop: Of f when it is left out.
        p: Of no drop, two-sided.
        q: After Benjamini-Hochberg over the tested edges.
    """

    edge: str
    drop: Estimate
    p: float
    q: float

    @property
    def needed(self) -> bool:
        """Whether f falls without it, at a false-discovery rate of .05."""
        return self.q < _SMALL_Q and (self.drop.value or 0) > 0

    def to_json(self) -> dict[str, object]:
        """All fields, and whether it is needed."""
        said = {"edge": self.edge, "drop": self.drop.to_json(), "p": self.p, "q": self.q}
        return {**said, "needed": self.needed}


@dataclass(frozen=True, slots=True)
class Minimality:
    """Whether each edge of the smallest faithful circuit is needed.

    Attributes:
        n_edges: Of that circuit, without dead ends; None if no size is faithful.
        edges: Those that were tested, the weakest first.
    """

    n_edges: int | None
    edges: tuple[EdgeNeed, ...] = ()

    @property
    def n_needed(self) -> int:
        """Tested edges without which f falls."""
        return sum(edge.needed for edge in self.edges)

    def to_json(self) -> dict[str, object]:
        """All fields, and counts."""
        counts = {"n_edges": self.n_edges, "n_tested": len(self.edges), "n_needed": self.n_needed}
        return {**counts, "edges": [edge.to_json() for edge in self.edges]}


@dataclass(frozen=True, slots=True)
class NodePair:
    """Two nodes silenced together in the whole model.

    Attributes:
        first: One node.
        second: The other.
        joint: Drop of f when both are silenced.
        excess: Joint drop minus the sum of the two alone; positive where they stand in for each
            other.
        p: Of no excess, two-sided.
        q: After Benjamini-Hochberg over the tested pairs.
    """

    first: str
    second: str
    joint: Estimate
    excess: Estimate
    p: float
    q: float

    @property
    def redundant(self) -> bool:
        """Whether together they matter more than apart, at a false-discovery rate of .05."""
        return self.q < _SMALL_Q and (self.excess.value or 0) > 0

    def to_json(self) -> dict[str, object]:
        """All fields, and whether they are redundant."""
        return {
            "nodes": [self.first, self.second],
            "joint": self.joint.to_json(),
            "excess": self.excess.to_json(),
            "p": self.p,
            "q": self.q,
            "redundant": self.redundant,
        }


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How far circuits of one model carry a contrast alone.

    Attributes:
        model: Name of the model.
        contrast: What differs between clean and corrupted.
        method: Algorithm that scored the edges.
        by: How edges were ranked.
        chosen_units: Units on which edges were ranked.
        tested_units: Units on which everything here was measured.
        held_out: Whether these are others than the chosen ones.
        clean: Mean margin of the clean run, in logits.
        corrupted: Of the corrupted run.
        points: One for each size; none if a circuit was given.
        circuit: Of the circuit that was given, if any.
        cpr: Area under f.
        cmd: Area under |1 - f|; 0 is best.
        random_cpr: Of random edges.
        random_cmd: Of random edges.
        minimality: Of the smallest faithful circuit.
        redundancy: Pairs of the strongest nodes.
        settings: Of the measurement and of the scores.
        margins: In logits, of which all this is made: `clean` and `corrupted` [pair]; `kept`,
            `complement` and, if asked for, `frozen` [pair, size]; `random` [pair, size, draw]. Not
            in the JSON.
    """

    model: str
    contrast: Contrast
    method: str
    by: str
    chosen_units: tuple[str, ...]
    tested_units: tuple[str, ...]
    held_out: bool
    clean: Estimate
    corrupted: Estimate
    points: tuple[SizePoint, ...]
    circuit: SizePoint | None
    cpr: Estimate
    cmd: Estimate
    random_cpr: Estimate
    random_cmd: Estimate
    minimality: Minimality
    redundancy: tuple[NodePair, ...]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    margins: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], compare=False)

    def smallest(self, least: float = 0.9) -> SizePoint | None:
        """The smallest circuit with at least this faithfulness; None if there is none."""
        enough = (point for point in self.points if (point.faithfulness.value or 0) >= least)
        return min(enough, key=lambda point: point.n_edges, default=None)

    def to_json(self) -> dict[str, object]:
        """Everything, with `schema_version`; no NaN."""
        areas = ("clean", "corrupted", "cpr", "cmd", "random_cpr", "random_cmd")
        estimates: dict[str, Estimate] = {name: getattr(self, name) for name in areas}
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "faithfulness",
            "model": self.model,
            "contrast": self.contrast,
            "method": self.method,
            "by": self.by,
            "held_out": self.held_out,
            **{name: estimate.to_json() for name, estimate in estimates.items()},
            "points": [point.to_json() for point in self.points],
            "circuit": None if self.circuit is None else self.circuit.to_json(),
            "minimality": self.minimality.to_json(),
            "redundancy": [pair.to_json() for pair in self.redundancy],
            "settings": dict(self.settings),
            "chosen_units": list(self.chosen_units),
            "tested_units": list(self.tested_units),
        }

    def save(self, path: Path | str) -> Path:
        """Write one JSON file; returns its path.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_json(Path(path), self.to_json())


def said(estimate: Estimate) -> str:
    """A number with its interval, for people."""
    if estimate.value is None:
        return f"unknown ({estimate.reason})"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
