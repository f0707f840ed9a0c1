"""Where a family of models keeps its stream, heads, projections, norms and MLPs.

An `Architecture` is a declaration: module paths and names of config fields, no algorithm. Nothing
else in the code base knows a module path. `bind` turns it into the modules of one model. Adding a
family is one file in `families/` and a call of `register_family`; the self-check on load proves
that the declaration describes the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import SelfCheckError, UnsupportedModelError

Layout = Literal["post-norm", "pre-norm"]
Reads = Literal["first token", "all tokens"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Module paths of one model class.

    Attributes:
        family: Short name, shown to users.
        model_type: `model_type` in config.json.
        model_class: Name of the transformers class.
        embedding: Module whose output enters layer 0, from the model; of several paths, the first
            that the model has.
        layers: List of layers, from the model. The other paths start from a layer.
        attention: Module that calls the attention function.
        q: Query projection.
        k: Key projection.
        v: Value projection.
        o: Output projection; reads z, and its weight is W_O.
        attention_norm: Norm of the attention branch: after its addition (post-norm), or before
            its projections (pre-norm).
        mlp: Last linear module of the MLP.
        mlp_norm: Norm of the MLP branch, likewise.
        layout: Where norms stand.
        reads: Which rows of the last layer the classifier reads.
        n_layers: Config field with the number of layers.
        n_heads: Config field with the number of heads.
        d_model: Config field with the width of the stream.
        max_length: Config field with the number of positions.
        positions_follow_padding: Whether positions are counted from one past the id of the padding
            token, so that inputs may have that many tokens fewer.
        token_types: Config field with the number of token types; None if there are none.
    """

    family: str
    model_type: str
    model_class: str
    embedding: str | tuple[str, ...]
    layers: str
    attention: str
    q: str
    k: str
    v: str
    o: str
    attention_norm: str
    mlp: str
    mlp_norm: str
    layout: Layout
    reads: Reads
    n_layers: str = "num_hidden_layers"
    n_heads: str = "num_attention_heads"
    d_model: str = "hidden_size"
    max_length: str = "max_position_embeddings"
    positions_follow_padding: bool = False
    token_types: str | None = "type_vocab_size"


@dataclass(frozen=True, slots=True)
class LayerModules:
    """The modules of one layer of one model; the fields are those of `Architecture`."""

    block: nn.Module
    attention: nn.Module
    q: nn.Module
    k: nn.Module
    v: nn.Module
    o: nn.Module
    attention_norm: nn.Module
    mlp: nn.Module
    mlp_norm: nn.Module

    @property
    def output_weight(self) -> Float[Tensor, "d_model d_z"]:
        """W_O: head h owns the columns h * d_head to (h + 1) * d_head."""
        return cast(Tensor, self.o.weight)

    @property
    def output_bias(self) -> Float[Tensor, " d_model"] | None:
        """Bias of the output projection, which belongs to no head."""
        return cast("Tensor | None", self.o.bias)


@dataclass(frozen=True, slots=True)
class BoundModules:
    """All modules of one model that an architecture declares."""

    embedding: nn.Module
    layers: tuple[LayerModules, ...]


_FAMILIES: dict[tuple[str, str], Architecture] = {}


def register_family(architecture: Architecture) -> None:
    """Make a model class known to `load_checkpoint`; a second registration replaces the first."""
    _FAMILIES[architecture.model_type, architecture.model_class] = architecture


def supported_classes() -> tuple[str, ...]:
    """Names of the transformers classes that can be opened."""
    return tuple(sorted(model_class for _, model_class in _FAMILIES))


def find_architecture(model_type: str, classes: Sequence[str]) -> Architecture:
    """The declaration for a config's `model_type` and `architectures`.

    Raises:
        UnsupportedModelError: If the family or the class is not registered; the message lists
            what is.
    """
    for model_class in classes:
        if (model_type, model_class) in _FAMILIES:
            return _FAMILIES[model_type, model_class]
    heads = [known_class for known_type, known_class in _FAMILIES if known_type == model_type]
    supported = ", ".join(supported_classes())
    if not heads:
        raise UnsupportedModelError(
            f"Models of type {model_type!r} are not supported. Supported: {supported}. "
            "See register_family in CONTRIBUTING.md for adding one."
        )
    found = ", ".join(classes) or "no architectures entry"
    raise UnsupportedModelError(
        f"This {model_type} checkpoint has no classifier that can be opened (config.json says "
        f"{found}). Supported: {supported}. Fine-tune it as one of these first."
    )


def bind(architecture: Architecture, hf: nn.Module) -> BoundModules:
    """The declared modules of one model.

    Raises:
        SelfCheckError: If a declared path does not exist.
    """
    layers = _module(hf, architecture.layers, architecture)
    if not isinstance(layers, nn.ModuleList):
        raise SelfCheckError(
            f"The declaration of {architecture.family!r} names {architecture.layers!r} as the "
            f"layers, which is a {type(layers).__name__}; expected a ModuleList. Mend the paths "
            "in patching/models/families."
        )
    return BoundModules(
        embedding=_embedding(hf, architecture),
        layers=tuple(
            LayerModules(
                block,
                *(
                    _module(block, path, architecture)
                    for path in (
                        architecture.attention,
                        architecture.q,
                        architecture.k,
                        architecture.v,
                        architecture.o,
                        architecture.attention_norm,
                        architecture.mlp,
                        architecture.mlp_norm,
                    )
                ),
            )
            for block in layers
        ),
    )


def _embedding(hf: nn.Module, architecture: Architecture) -> nn.Module:
    declared = architecture.embedding
    *preferred, last = (declared,) if isinstance(declared, str) else declared
    present = {name for name, _ in hf.named_modules()}
    path = next((path for path in preferred if path in present), last)
    return _module(hf, path, architecture)


def _module(root: nn.Module, path: str, architecture: Architecture) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError as error:
        raise SelfCheckError(
            f"The declaration of {architecture.family!r} names a module {path!r}, which this "
            f"{type(root).__name__} does not have. Mend the paths in patching/models/families."
        ) from error
