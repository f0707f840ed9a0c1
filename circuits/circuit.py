"""`Circuit`: the edges of one model that carry a contrast, frozen, with where they come from.

    circuit = Circuit.choose(scores, top_k(scores, 50), selection="top 50 by size")
    circuit.save("circuit.json"); Circuit.load("circuit.json").mask(Graph.of(model))

A circuit is a JSON file of its own; `circuits.exchange` reads and writes that of EAP-IG and MIB.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast, get_args

from jaxtyping import Bool
from torch import Tensor

from behavior.errors import DataError, ResultError
from behavior.examples import Contrast
from circuits.discovery.scores import EdgeScores
from circuits.graph import Graph, reader_node
from patching.effects import Direction

SCHEMA_VERSION = 1
KIND = "circuit"


@dataclass(frozen=True, slots=True)
class Circuit:
    """Chosen edges of one model.

    Attributes:
        model: Name of the model.
        digest: Of its weights and config; empty if it does not come from files.
        family: Of the model.
        edges: Names of the edges, in the order of the graph.
        scores: [edge] mean score of each.
        n_edges: Of the whole graph.
        contrast: What differs between clean and corrupted.
        direction: `noise` or `denoise`.
        method: Name of the algorithm.
        provenance: How it was found: its settings and selection, pairs and units.
    """

    model: str
    digest: str
    family: str
    edges: tuple[str, ...]
    scores: tuple[float, ...]
    n_edges: int
    contrast: Contrast
    direction: Direction
    method: str
    provenance: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.scores) or len(set(self.edges)) != len(self.edges):
            raise DataError(
                f"A circuit of {len(self.edges)} edges needs as many scores, and each edge once; "
                f"got {len(self.scores)} scores."
            )
        if not all(math.isfinite(score) for score in self.scores):
            raise DataError("The scores of a circuit's edges must be finite numbers.")

    def __len__(self) -> int:
        return len(self.edges)

    def __contains__(self, edge: object) -> bool:
        return edge in self.edges

    @property
    def nodes(self) -> tuple[str, ...]:
        """Writers and readers that take part, in the order in which the edges name them."""
        names: dict[str, None] = {}
        for edge in self.edges:
            writer, _, reader = edge.partition("->")
            names |= {writer: None, reader_node(reader): None}
        return tuple(names)

    @property
    def share(self) -> float:
        """Of all edges of the model."""
        return len(self) / self.n_edges

    def kept(self, graph: Graph) -> Bool[Tensor, " edge"]:
        """Which edges of a graph are in the circuit.

        Raises:
            DataError: If it is the graph of another model.
        """
        if self.n_edges != len(graph):
            raise DataError(
                f"The circuit of {self.model!r} was found among {self.n_edges} edges, this model "
                f"has {len(graph)}. Use the model that it was found in."
            )
        return graph.kept(frozenset(self.edges))

    def mask(self, graph: Graph) -> Bool[Tensor, "reader writer"]:
        """The same as a matrix, as `run_circuit` takes it.

        Raises:
            DataError: If it is the graph of another model.
        """
        return graph.edge_mask(self.kept(graph))

    @classmethod
    def choose(
        cls,
        scores: EdgeScores,
        kept: Bool[Tensor, " edge"],
        *,
        selection: str,
        **provenance: object,
    ) -> "Circuit":
        """The kept edges of some scores.

        Args:
            scores: Of all edges.
            kept: Which are in the circuit; see `circuits.selection`.
            selection: How they were chosen, in words.
            provenance: What else is to be known.
        """
        chosen = kept.nonzero()[:, 0].tolist()
        mean = scores.mean
        return cls(
            model=scores.model,
            digest=scores.digest,
            family=scores.family,
            edges=tuple(scores.edges[i] for i in chosen),
            scores=tuple(float(mean[i]) for i in chosen),
            n_edges=len(scores.edges),
            contrast=scores.contrast,
            direction=scores.direction,
            method=scores.method,
            provenance={
                "selection": selection,
                "settings": dict(scores.settings),
                "n_pairs": len(scores),
                "units": sorted(set(scores.units)),
                "readout": dict(scores.readout),
                "unit": scores.unit,
                **provenance,
            },
        )

    def to_json(self) -> dict[str, object]:
        """All fields, with `schema_version`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values |= {"edges": list(self.edges), "scores": list(self.scores)}
        values["provenance"] = dict(self.provenance)
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **values}

    @classmethod
    def from_json(cls, stored: object, source: str = "This JSON") -> "Circuit":
        """Read what `to_json` gave.

        Args:
            stored: The object.
            source: What errors call it.

        Raises:
            ResultError: If it is no circuit, or one of another version.
        """
        values = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
        if values.get("kind") != KIND or values.get("schema_version") != SCHEMA_VERSION:
            raise ResultError(
                f"{source} holds no circuit of version {SCHEMA_VERSION} (its kind is "
                f"{values.get('kind')!r}, its version {values.get('schema_version')!r})."
            )
        try:
            given = {f.name: values[f.name] for f in fields(cls)}
            _check_types(given)
            given |= {"edges": tuple(given["edges"]), "scores": tuple(map(float, given["scores"]))}
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            said = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise ResultError(f"{source} holds a broken circuit: {said}") from None

    def save(self, path: Path | str) -> Path:
        """Write one JSON file, whole or not at all; returns its path.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Circuit":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or holds no circuit.
        """
        return cls.from_json(read_json(Path(path)), str(path))


def write_json(path: Path, value: object) -> Path:
    """Write JSON under a temporary name, and rename.

    Raises:
        ResultError: If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ResultError(f"{path} cannot be written ({error.strerror or error}).") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_json(path: Path) -> object:
    """The JSON in a file.

    Raises:
        ResultError: If it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path} cannot be read ({error.strerror or error}).") from None
    except ValueError:
        raise ResultError(f"{path} is no JSON file.") from None


def _check_types(given: Mapping[str, Any]) -> None:
    texts = ("model", "digest", "family", "method")
    lists = all(isinstance(given[name], list) for name in ("edges", "scores"))
    right = (
        lists
        and all(isinstance(given[name], str) for name in texts)
        and all(isinstance(edge, str) for edge in given["edges"])
        and isinstance(given["provenance"], dict)
        and isinstance(given["n_edges"], int)
    )
    if not right:
        raise TypeError("a field has the wrong type.")
    for name, allowed in (("contrast", Contrast), ("direction", Direction)):
        if given[name] not in get_args(allowed):
            raise TypeError(f"{name} is {given[name]!r}, expected one of {get_args(allowed)}.")
