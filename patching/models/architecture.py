"""Where a family of models keeps its streams, heads, projections, norms and MLPs.

An `Architecture` is a declaration: module paths and names of config fields, no algorithm. Nothing
else in the code base knows a module path. `patching.models.binding` turns it into the modules of
one model. Adding a family is one file in `families/` and a call of `register_family`; the
self-check on load proves that the declaration describes the model.

A model is a list of *rows* in the order in which they run. A row is a set of heads that write into
the stream together, and the MLP that follows them, if there is one. Most transformers have one row
in each layer; T5's decoder has two (self-attention, cross-attention); in a ResNet each block is a
row, whose heads are groups of hidden channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from behavior.errors import UnsupportedModelError

Layout = Literal["post-norm", "pre-norm", "convolution"]
Reads = Literal["first token", "all tokens"]
Modality = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class RowPaths:
    """Module paths of one row, from a layer. Negative numbers count from the end of a list.

    Attributes:
        attention: Module that calls the attention function; in a ResNet, the residual branch.
        o: Output projection; reads z, and its weight is W_O.
        norm: Norm of the branch: after its addition (post-norm), before its projections
            (pre-norm), or the affine map after `o` (convolution).
        q: Query projection; None if there is no attention. One module for q, k and v holds them
            side by side.
        k: Key projection.
        v: Value projection.
        mlp: Module whose output the MLP adds to the stream; None if no MLP follows.
        mlp_in: Module that reads the stream for the MLP and hands on to `mlp`; None if that is
            `mlp` itself.
        mlp_norm: Norm of the MLP branch, likewise.
        shortcut: Map of the stream beside the branch (convolution).
        activation: Elementwise map of the sum (convolution).
        enter: Module that the stream enters; empty for the layer itself.
        leave: Module that the stream leaves; empty for the layer itself.
        cross: Whether keys and values come from the encoder.
    """

    attention: str
    o: str
    norm: str
    q: str | None = None
    k: str | None = None
    v: str | None = None
    mlp: str | None = None
    mlp_in: str | None = None
    mlp_norm: str | None = None
    shortcut: str | None = None
    activation: str | None = None
    enter: str = ""
    leave: str = ""
    cross: bool = False


@dataclass(frozen=True, slots=True)
class StackPaths:
    """A list of equal layers.

    Attributes:
        layers: List of layers, from the model; with a `*`, one list for each item there.
        rows: Rows of a layer, in the order in which they run.
        embedding: Module whose output enters the first layer, from the model; of several paths,
            the first that the model has.
        name: Prefix of its nodes; the number of the list is added where there are several.
        final_norm: Norm after its last layer, through which a later stack reads it.
        n_layers: Config field with the number of layers; None where lists differ.
    """

    layers: str
    rows: tuple[RowPaths, ...]
    embedding: str | tuple[str, ...]
    name: str = ""
    final_norm: str | None = None
    n_layers: str | None = "num_hidden_layers"


@dataclass(frozen=True, slots=True)
class Architecture:
    """Declaration of one model class.

    Attributes:
        family: Short name, shown to users.
        model_type: `model_type` in config.json.
        model_class: Name of the transformers class.
        stacks: Its stacks, in the order in which they run.
        layout: Where norms stand.
        reads: Which positions of the last row the classifier reads.
        head: From the stream after the last row to the logits, step by step: a choice of positions
            (`first token`, `last token`, `end of text`, `mean`), module paths, and elementwise
            functions (`tanh`, `relu`, `gelu`).
        modality: What its inputs are.
        n_heads: Config field with the number of heads; None for a ResNet, whose hidden channels
            are cut into up to 8 equal groups.
        d_model: Config field with the width of the stream.
        d_head: Config field with the width of a head; None for `d_model` / `n_heads`.
        max_length: Config field with the number of positions; None if there is no limit.
        positions_follow_padding: Whether positions are counted from one past the id of the padding
            token, so that inputs may have that many tokens fewer.
        token_types: Config field with the number of token types; None if there are none.
        caches: Whether the model keeps keys and values between calls unless told not to.
        label_words: Whether classes are words, read at the first position of the decoder.
        needs_padding_id: Whether the config must name the padding token.
    """

    family: str
    model_type: str
    model_class: str
    stacks: tuple[StackPaths, ...]
    layout: Layout
    reads: Reads
    head: tuple[str, ...] = ()
    modality: Modality = "text"
    n_heads: str | None = "num_attention_heads"
    d_model: str | None = "hidden_size"
    d_head: str | None = None
    max_length: str | None = "max_position_embeddings"
    positions_follow_padding: bool = False
    token_types: str | None = None
    caches: bool = False
    label_words: bool = False
    needs_padding_id: bool = False


_FAMILIES: dict[tuple[str, str], Architecture] = {}


def register_family(architecture: Architecture) -> None:
    """Make a model class known to `load_checkpoint`; a second registration replaces the first."""
    _FAMILIES[architecture.model_type, architecture.model_class] = architecture


def supported_classes(model_type: str | None = None) -> tuple[str, ...]:
    """Names of the transformers classes that can be opened, of one family or of all."""
    return tuple(
        sorted(name for kind, name in _FAMILIES if model_type is None or kind == model_type)
    )


def find_architecture(model_type: str, classes: Sequence[str]) -> Architecture:
    """The declaration for a config's `model_type` and `architectures`.

    Raises:
        UnsupportedModelError: If the family or the class is not registered; the message lists
            what is.
    """
    for model_class in classes:
        if (model_type, model_class) in _FAMILIES:
            return _FAMILIES[model_type, model_class]
    heads = supported_classes(model_type)
    if not heads:
        raise UnsupportedModelError(
            f"Models of type {model_type!r} are not supported. Supported: "
            f"{', '.join(supported_classes())}. See register_family in CONTRIBUTING.md for adding "
            "one."
        )
    found = ", ".join(classes) or "no architectures entry"
    raise UnsupportedModelError(
        f"This {model_type} checkpoint has no classifier that can be opened (config.json says "
        f"{found}). Supported: {', '.join(heads)}. Fine-tune it as one of these first."
    )
