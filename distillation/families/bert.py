"""BERT for sequence classification (https://arxiv.org/abs/1810.04805)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
)

from distillation.checks import require, require_classes, require_heads

_WRITERS = ".output.dense.weight"
"""How BERT names the output projections of its attentions and of its MLPs."""


@dataclass(frozen=True, slots=True)
class BertRecipe:
    """A BERT sequence classifier, initialised from scratch.

    Attributes:
        reads: Kind of its inputs.
        classes: Names of the classes in the order of the logits.
        n_layers: Number of layers.
        d_model: Width of the residual stream; the MLPs are four times as wide.
        n_heads: Heads of each layer.
        max_length: Longest input, in tokens.
        initializer_range: Standard deviation of the initial weights.
        output_scale: Factor on the initial output projections of attention and MLP. Large
            weights let plain positions be learned, small writers keep the stream calm.
        dropout: Probability, everywhere.
        family: Architecture.
    """

    reads: ClassVar[Literal["text"]] = "text"

    classes: tuple[str, ...]
    n_layers: int
    d_model: int
    n_heads: int
    max_length: int = 32
    initializer_range: float = 0.2
    output_scale: float = 0.25
    dropout: float = 0.0
    family: Literal["bert"] = "bert"

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "n_heads"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require_heads(self.d_model, self.n_heads)
        require(self.max_length >= 4, "max_length", "at least 4", self.max_length)
        require(self.initializer_range > 0, "initializer_range", "above 0", self.initializer_range)
        require(self.output_scale > 0, "output_scale", "above 0", self.output_scale)
        require(0 <= self.dropout < 1, "dropout", "from 0 to below 1", self.dropout)
        require_classes(self.classes)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        return (
            f"BERT for sequence classification: {self.n_layers} layers, width {self.d_model}, "
            f"{self.n_heads} heads"
        )

    def build(self, tokenizer: PreTrainedTokenizerBase) -> BertForSequenceClassification:
        """Fresh weights from the global generator, with the output projections scaled."""
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.d_model,
            num_hidden_layers=self.n_layers,
            num_attention_heads=self.n_heads,
            intermediate_size=4 * self.d_model,
            max_position_embeddings=self.max_length,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            initializer_range=self.initializer_range,
            pad_token_id=cast(int, tokenizer.pad_token_id),
            id2label=dict(enumerate(self.classes)),
            label2id={name: i for i, name in enumerate(self.classes)},
        )
        model = BertForSequenceClassification(config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith(_WRITERS):
                    weight.mul_(self.output_scale)
        return model
