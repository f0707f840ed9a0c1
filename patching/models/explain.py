"""A model as a table: its rows, and the names under which its parts are patched."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from patching.models.architecture import Reads
from patching.models.nodes import ACTIVATIONS, HEAD_ACTIVATIONS, Activation
from patching.models.rows import LayerModules
from patching.models.spec import UNLIMITED

if TYPE_CHECKING:
    from patching.models.model import PatchableModel

_COLUMNS = ("row", "heads", "queries from", "keys and values from", "MLP")


@dataclass(frozen=True, repr=False, slots=True)
class Explanation:
    """What a model consists of; printed, or shown by a notebook, it is a text with a table.

    Attributes:
        title: Name and class.
        facts: Sizes and names, by what they are of.
        rows: Cells of each row, in the order in which they run; see `columns`.
        columns: Heads of the cells.
        nodes: What `patch_nodes` takes, by kind.
        sites: What `run_with_cache` and `patch` take.
        missing: What other families have and this one has not.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    nodes: tuple[tuple[str, str], ...]
    sites: tuple[str, ...]
    missing: tuple[str, ...]
    columns: tuple[str, ...] = _COLUMNS

    def to_dataframe(self) -> pd.DataFrame:
        """One line for each row of the model."""
        return pd.DataFrame(list(self.rows), columns=list(self.columns))

    def __str__(self) -> str:
        parts = [
            self.title,
            _aligned(self.facts),
            _aligned([self.columns, *self.rows]),
            "Nodes, for patch_nodes, attribute_nodes, model.patch and model.ablate:",
            _aligned(self.nodes),
            "Sites, for run_with_cache and model.patch:",
            _indented(", ".join(self.sites)),
        ]
        if self.missing:
            parts += ["Not in this model:", "\n".join(map(_indented, self.missing))]
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return str(self)


def explain_model(model: "PatchableModel") -> Explanation:
    """The rows, names and sizes of a model, and what it has not."""
    spec, layout = model.spec, model.architecture.layout
    longest = "no limit" if spec.max_length >= UNLIMITED else f"{spec.max_length} tokens"
    facts = {
        "layers": str(spec.n_layers)
        + (f", and {spec.n_decoder_layers} of the decoder" if spec.n_decoder_layers else ""),
        "heads in a row": f"{spec.n_heads}, d_head {spec.d_head}",
        "stream": f"d_model {spec.d_model}, {layout}{_where(model.architecture.reads)}",
        "inputs": spec.modality + ("" if spec.modality == "image" else f", {longest}"),
        "classes": ", ".join(spec.classes),
        "parameters": f"{spec.n_parameters:,}",
    }
    return Explanation(
        title=f"{model.name}: {model.architecture.model_class} ({spec.family})",
        facts=tuple(facts.items()),
        rows=tuple(_cells(row) for row in model.modules.layers),
        nodes=_nodes(model),
        sites=_sites(model),
        missing=_missing(model),
    )


def _where(reads: Reads) -> str:
    return ", the classifier reads the first token" if reads == "first token" else ""


def _cells(row: LayerModules) -> tuple[str, ...]:
    heads = str(row.heads[0])
    if row.n_heads > 1:
        heads += f" to {str(row.heads[-1]).rpartition('.')[2]}"
    if row.q is None:
        sources = ("-", "-")
    else:
        stack = row.base
        own = f"{stack} stream" if stack else "stream"
        sources = (own, "enc stream" if row.stack.endswith(".x") else own)
    mlp = str(row.mlp_node or "-")
    return (row.name, heads, *sources, mlp)


def _nodes(model: "PatchableModel") -> tuple[tuple[str, str], ...]:
    spec = model.spec
    inputs = dict.fromkeys(("input", *spec.inputs))
    single = "single groups of hidden channels" if spec.family == "resnet" else "single heads"
    whole = "all groups of a block" if spec.family == "resnet" else "all heads of a row"
    found = {
        "embeddings": ", ".join(inputs),
        single: f"{spec.heads[0]} to {spec.heads[-1]}",
        whole: f"{spec.rows[0]} to {spec.rows[-1]}",
    }
    if spec.mlps:
        found["MLPs"] = f"{spec.mlps[0]} to {spec.mlps[-1]}"
    return tuple(found.items())


def _sites(model: "PatchableModel") -> tuple[str, ...]:
    """Of the first row; every head has its part of those with heads."""
    rows = model.modules.layers
    return tuple(
        str(next(row for row in rows if row.has(a)).site(a, 0 if a in HEAD_ACTIVATIONS else None))
        for a in ACTIVATIONS
        if _any_has(rows, a)
    )


def _any_has(rows: Sequence[LayerModules], activation: Activation) -> bool:
    return any(row.has(activation) for row in rows)


def _missing(model: "PatchableModel") -> tuple[str, ...]:
    rows = model.modules.layers
    found: list[str] = []
    if not model.spec.mlps:
        found.append("MLPs: patch_mlps and attribute_mlps have nothing to patch.")
    if not _any_has(rows, "q"):
        found.append("Attention: no q, k, v, patterns or values, so patch_layers takes 'heads'.")
    if not _any_has(rows, "resid_mid"):
        found.append("A stream between heads and MLP: no resid_mid.")
    if model.spec.modality == "image":
        found.append("Words: patch_positions needs a text model.")
    if rows[0].bias is None and not rows[0].is_image:
        found.append("Biases of W_O: model.ablate sets to zero, not to a mean.")
    return tuple(found)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(_indented(line.rstrip()) for line in lines)


def _indented(text: str) -> str:
    return f"  {text}"
