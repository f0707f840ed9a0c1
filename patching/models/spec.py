"""Sizes of a model, read from its config under the names that its family declares."""

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from patching.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Sizes of a model.

    Attributes:
        family: Name of its architecture.
        n_layers: Layers.
        n_heads: Attention heads of each layer.
        d_model: Width of the residual stream.
        d_head: Width of one head.
        n_classes: Classes of the classifier.
        classes: Their names, in the order of the logits.
        max_length: Tokens that an input may have, special tokens included.
        n_token_types: Token types that tell the texts of an input apart; 1 if it has none.
        n_parameters: Trained numbers.
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

    @property
    def has_class_names(self) -> bool:
        """Whether the classes have names of their own, and not `LABEL_0`, `LABEL_1`, ..."""
        return self.classes != tuple(f"LABEL_{i}" for i in range(self.n_classes))


def read_spec(
    hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, architecture: Architecture
) -> ModelSpec:
    """Sizes of one model. Whether they are true is for the self-check to say."""
    config: Any = hf.config
    n_heads: int = getattr(config, architecture.n_heads)
    d_model: int = getattr(config, architecture.d_model)
    names: dict[int, str] = config.id2label
    classes = tuple(names[i] for i in sorted(names))
    return ModelSpec(
        family=architecture.family,
        n_layers=getattr(config, architecture.n_layers),
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        n_classes=len(classes),
        classes=classes,
        max_length=min(_n_positions(config, architecture), tokenizer.model_max_length),
        n_token_types=_n_token_types(config, architecture),
        n_parameters=sum(parameter.numel() for parameter in hf.parameters()),
    )


def _n_positions(config: Any, architecture: Architecture) -> int:
    """Positions that tokens can have."""
    positions: int = getattr(config, architecture.max_length)
    return positions - (config.pad_token_id + 1 if architecture.positions_follow_padding else 0)


def _n_token_types(config: Any, architecture: Architecture) -> int:
    return 1 if architecture.token_types is None else getattr(config, architecture.token_types)
