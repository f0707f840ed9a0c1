"""Sizes of a model, read from its config under the names that its family declares."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from patching.models.architecture import Architecture, Modality
from patching.models.nodes import Node
from patching.models.projections import weight_of
from patching.models.rows import BoundModules

UNLIMITED = 10**30
"""What transformers calls a tokenizer's length if there is no limit."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Sizes of a model.

    Attributes:
        family: Name of its architecture.
        n_layers: Layers; of an encoder-decoder, those of the encoder; blocks of a ResNet.
        n_heads: Attention heads of each row; groups of hidden channels in a ResNet.
        d_model: Width of the residual stream; in a ResNet, where the classifier reads it.
        d_head: Width of one head; in a ResNet, of a group of the last block.
        n_classes: Classes of the classifier.
        classes: Their names, in the order of the logits.
        max_length: Tokens that an input may have, special tokens included.
        n_token_types: Token types that tell the texts of an input apart; 1 if it has none.
        n_parameters: Trained numbers.
        rows: Names of its rows, in the order in which they run: `a0`, `dec.x1`, `s2.b0`.
        mlps: Names of its MLPs.
        inputs: Names of its embeddings: `input`, or `enc.input` and `dec.input`.
        modality: What its inputs are.
        n_decoder_layers: Layers of its decoder; 0 without one.
    """

    family: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    n_classes: int
    classes: tuple[str, ...]
    max_length: int
    n_token_types: int
    n_parameters: int
    rows: tuple[str, ...]
    mlps: tuple[str, ...]
    inputs: tuple[str, ...]
    modality: Modality = "text"
    n_decoder_layers: int = 0

    @property
    def has_class_names(self) -> bool:
        """Whether the classes have names of their own, and not `LABEL_0`, `LABEL_1`, ..."""
        return self.classes != tuple(f"LABEL_{i}" for i in range(self.n_classes))

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of all heads, row by row: `a0.h0`, `a0.h1`, ..."""
        rows = [Node.parse(row) for row in self.rows]
        return tuple(
            str(Node("head", row.layer, head, row.stack))
            for row in rows
            for head in range(self.n_heads)
        )


def read_spec(
    hf: PreTrainedModel,
    architecture: Architecture,
    modules: BoundModules,
    classes: tuple[str, ...] | None = None,
    longest: int = UNLIMITED,
) -> ModelSpec:
    """Sizes of one model. Whether they are true is for the self-check to say.

    Args:
        hf: The model.
        architecture: Declaration of its family.
        modules: Its modules.
        classes: Names of its classes; by default those of its config.
        longest: Tokens that its tokenizer allows.
    """
    config: Any = hf.config
    rows, last = modules.layers, modules.layers[-1]
    d_model = (
        weight_of(last.o).shape[0]
        if architecture.d_model is None
        else getattr(config, architecture.d_model)
    )
    names: dict[int, str] = config.id2label
    found = classes or tuple(names[i] for i in sorted(names))
    stacks = architecture.stacks
    return ModelSpec(
        family=architecture.family,
        n_layers=len(rows) if stacks[0].n_layers is None else getattr(config, stacks[0].n_layers),
        n_heads=last.n_heads,
        d_model=d_model,
        d_head=_d_head(config, architecture, d_model, modules),
        n_classes=len(found),
        classes=found,
        max_length=min(_n_positions(config, architecture), longest),
        n_token_types=_n_token_types(config, architecture),
        n_parameters=sum(parameter.numel() for parameter in hf.parameters()),
        rows=tuple(row.name for row in rows),
        mlps=tuple(str(row.mlp_node) for row in rows if row.mlp_node is not None),
        inputs=tuple(str(Node("input", stack=row.base)) for row in modules.entries),
        modality=architecture.modality,
        n_decoder_layers=getattr(config, stacks[1].n_layers or "") if len(stacks) > 1 else 0,
    )


def _d_head(config: Any, architecture: Architecture, d_model: int, modules: BoundModules) -> int:
    if architecture.d_head is not None:
        return getattr(config, architecture.d_head)
    if architecture.n_heads is None:
        return modules.layers[-1].d_head
    return d_model // getattr(config, architecture.n_heads)


def _n_positions(config: Any, architecture: Architecture) -> int:
    """Positions that tokens can have."""
    if architecture.max_length is None:
        return UNLIMITED
    positions: int = getattr(config, architecture.max_length)
    return positions - (config.pad_token_id + 1 if architecture.positions_follow_padding else 0)


def _n_token_types(config: Any, architecture: Architecture) -> int:
    return 1 if architecture.token_types is None else getattr(config, architecture.token_types)
