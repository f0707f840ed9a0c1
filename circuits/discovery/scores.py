"""`EdgeScores`: the score of every edge on every pair, by one discovery algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Contrast
from behavior.resampling import Resamples
from patching.effects import Direction, Effects
from patching.files import read_record, write_record
from patching.summary import EffectSummary, summarise

Level = Literal["edge", "node", "joint"]

_TENSORS = ("values", "clean", "corrupted")
_PER_PAIR = ("units", "templates", "steps")
_FILE = "scores.safetensors"


@dataclass(frozen=True, slots=True)
class EdgeScores:
    """Score of each edge on each pair; positive where the edge carries the contrast.

    Attributes:
        values: [pair, edge] scores, in `unit`; float32, or float64 from a model in float64.
        edges: [edge] names, in the order of the model's graph.
        clean: [pair] margins of the clean run, in logits.
        corrupted: [pair] margins of the corrupted run, in logits.
        units: [pair] unit of resampling.
        templates: [pair] cluster of the unit; empty strings if none.
        steps: [pair] the cells, such as `A->C`; empty strings if the pairs came without quads.
        contrast: What differs between clean and corrupted.
        direction: `noise` (corrupted into clean) or `denoise` (clean into corrupted).
        method: Name of the algorithm.
        level: `edge`; `node` where a writer's edges all carry its own score; `joint` where the
            edges were chosen together, so that all pairs have the same scores.
        settings: Options of the algorithm.
        model: Name of the model.
        digest: Of its weights and config; empty if it does not come from files.
        family: Of the model.
        readout: How classes became labels; see `Readout.describe`.
        unit: Of the values.
    """

    values: Float[Tensor, "pair edge"]
    edges: tuple[str, ...]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    units: tuple[str, ...]
    templates: tuple[str, ...]
    steps: tuple[str, ...]
    contrast: Contrast
    direction: Direction
    method: str
    level: Level = "edge"
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    model: str = ""
    digest: str = ""
    family: str = ""
    readout: Mapping[str, object] = field(default_factory=dict[str, object])
    unit: str = "logits"

    def __post_init__(self) -> None:
        n_pairs, n_edges = self.values.shape
        lengths = {len(getattr(self, name)) for name in (*_PER_PAIR, "clean", "corrupted")}
        if lengths != {n_pairs} or len(self.edges) != n_edges:
            raise DataError(
                f"Scores of {n_pairs} pairs and {n_edges} edges need as many names, margins, "
                f"units, templates and steps; got {len(self.edges)} edges and {sorted(lengths)}."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> Float[Tensor, " edge"]:
        """Mean score of each edge over the pairs, in float64."""
        return self.values.double().mean(dim=0)

    @property
    def nodes(self) -> Effects:
        """Score of each writer: the sum over its outgoing edges.

        Of `node` scores, which all its edges repeat, the writer's own.
        """
        names = tuple(dict.fromkeys(edge.partition("->")[0] for edge in self.edges))
        place = {name: i for i, name in enumerate(names)}
        index = torch.tensor([place[edge.partition("->")[0]] for edge in self.edges])
        total = self.values.new_zeros(len(self), len(names)).index_add_(1, index, self.values)
        if self.level == "node":
            total = total / torch.bincount(index)
        return Effects(
            values=total,
            nodes=names,
            clean=self.clean,
            corrupted=self.corrupted,
            units=self.units,
            templates=self.templates,
            steps=self.steps,
            contrast=self.contrast,
            direction=self.direction,
            method=f"{self.method}, summed over edges",
            model=self.model,
            readout=self.readout,
            unit=self.unit,
        )

    def edge(self, name: str) -> Float[Tensor, " pair"]:
        """Scores of one edge.

        Raises:
            DataError: If there is none of this name.
        """
        if name not in self.edges:
            raise DataError(f"{name!r} is no edge here. Edges look like {self.edges[0]!r}.")
        return self.values[:, self.edges.index(name)]

    def take(self, units: "set[str] | frozenset[str]") -> "EdgeScores":
        """The scores on the pairs of some units.

        Raises:
            DataError: If no pair belongs to them.
        """
        rows = [i for i, unit in enumerate(self.units) if unit in units]
        if not rows:
            raise DataError("None of the scored pairs belongs to these units.")
        kept: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        kept |= {name: getattr(self, name)[rows] for name in _TENSORS}
        kept |= {name: tuple(getattr(self, name)[i] for i in rows) for name in _PER_PAIR}
        return EdgeScores(**kept)

    def summary(self, resamples: Resamples | None = None) -> EffectSummary:
        """Mean, interval, p and q of every edge over units of resampling.

        Args:
            resamples: Shared with other statistics of a comparison; drawn here if missing.
        """
        return summarise(self.values, self.edges, self.units, self.templates, resamples)

    def save(self, path: Path | str) -> Path:
        """Write one safetensors file, with everything else as JSON in its header.

        Args:
            path: The file (`*.safetensors`), or a folder that gets `scores.safetensors`.

        Returns:
            The file.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_record(self, _file(path), "edge scores")

    @classmethod
    def load(cls, path: Path | str) -> "EdgeScores":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or holds no edge scores.
        """
        return read_record(cls, _file(path), "edge scores")


def _file(path: Path | str) -> Path:
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / _FILE
