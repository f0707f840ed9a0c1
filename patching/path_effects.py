"""`Edge`, the direct path from one node to another, and `PathEffects`, what flows along each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Contrast
from behavior.resampling import Resamples
from patching.effects import Direction
from patching.files import read_record, write_record
from patching.models.nodes import Node
from patching.summary import EffectSummary, pair_table, summarise

Part = Literal["q", "k", "v"]
"""Through which of its inputs a head reads."""

_EDGE = re.compile(r"(?P<sender>.+)->(?P<receiver>[^<>]+)(<(?P<part>[qkv])>)?")
_KIND = "path effects"


@dataclass(frozen=True, slots=True)
class Edge:
    """The direct path from a sender to a receiver, as the field writes it: `a0.h1->a3.h5<q>`.

    Attributes:
        sender: Head, row of heads, MLP or input.
        receiver: Head, row of heads, MLP or `logits`.
        part: Through which of its inputs a head reads; None means all of them.
    """

    sender: Node
    receiver: Node
    part: Part | None = None

    def __str__(self) -> str:
        part = "" if self.part is None else f"<{self.part}>"
        return f"{self.sender}->{self.receiver}{part}"

    @classmethod
    def parse(cls, text: str) -> "Edge":
        """Read `a0.h1->a3.h5<q>`, `m0->m2` or `a0.h1->logits`.

        Raises:
            DataError: If it is none of these.
        """
        match = _EDGE.fullmatch(text)
        if match is None:
            raise DataError(
                f"Cannot read {text!r} as a path. Expected a form like 'a0.h1->a3.h5<q>', "
                "'m0->m2' or 'a0.h1->logits'."
            )
        sender, receiver = Node.parse(match["sender"]), Node.parse(match["receiver"])
        return cls(sender, receiver, cast("Part | None", match["part"]))


@dataclass(frozen=True, slots=True)
class PathEffects:
    """Effect of each direct path on each pair, in logits; positive where it carries the contrast.

    Attributes:
        values: [pair, edge] effects.
        edges: [edge] names.
        clean: [pair] margins of the clean run, in logits.
        corrupted: [pair] margins of the corrupted run, in logits.
        units: [pair] unit of resampling.
        templates: [pair] cluster of the unit; empty strings if none.
        steps: [pair] the cells, such as `A->C`; empty strings if the pairs came without quads.
        contrast: What differs between clean and corrupted.
        direction: `noise` (corrupted into clean) or `denoise` (clean into corrupted).
        model: Name of the model.
        readout: How classes became labels.
        method: How the effects were found.
        unit: Of values and margins.
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
    model: str = ""
    readout: Mapping[str, object] = field(default_factory=dict[str, object])
    method: str = "path patching"
    unit: str = "logits"

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.units), len(self.edges)):
            raise DataError(
                f"Values of {tuple(self.values.shape)} are not those of {len(self.units)} pairs "
                f"and {len(self.edges)} paths."
            )

    def __len__(self) -> int:
        return len(self.values)

    def edge(self, name: str) -> Float[Tensor, " pair"]:
        """Effects of one path.

        Raises:
            DataError: If it was not patched.
        """
        if name not in self.edges:
            raise DataError(f"{name!r} was not patched; there are: {', '.join(self.edges)}.")
        return self.values[:, self.edges.index(name)]

    def summary(self, resamples: Resamples | None = None) -> EffectSummary:
        """Mean, interval, p and q of every path over units of resampling, as in `Effects`."""
        return summarise(self.values, self.edges, self.units, self.templates, resamples)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each pair and path."""
        n_pairs, n_edges = self.values.shape
        parsed = [Edge.parse(name) for name in self.edges]
        return pair_table(self, n_edges).assign(
            edge=list(self.edges) * n_pairs,
            sender=[str(edge.sender) for edge in parsed] * n_pairs,
            receiver=[str(edge.receiver) for edge in parsed] * n_pairs,
            part=[edge.part or "" for edge in parsed] * n_pairs,
            effect=self.values.flatten().tolist(),
        )

    def save(self, path: Path | str) -> Path:
        """Write one safetensors file, with everything else as JSON in its header.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_record(self, Path(path), _KIND)

    @classmethod
    def load(cls, path: Path | str) -> "PathEffects":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or is of another kind.
        """
        return read_record(cls, Path(path), _KIND)
