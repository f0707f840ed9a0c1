"""T5, as a sequence classifier or as one that answers with a word (arXiv 1910.10683).

The sequence classifier feeds the input to the decoder as well, shifted by one token, and reads the
decoder at the end of the text. With `head: label-words` the network generates: its decoder sees
its start token alone, and the logits are those of the classes' names at the first step. Either
way every loss over classes applies.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from transformers import (
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
)

from distillation.checks import require, require_classes, require_heads

_NETWORKS = {"classifier": T5ForSequenceClassification, "label-words": T5ForConditionalGeneration}


@dataclass(frozen=True, slots=True)
class T5Recipe:
    """A T5 classifier, initialised from scratch.

    Attributes:
        reads: Kind of its inputs.
        family: Architecture.
        classes: Names of the classes in the order of the logits.
        n_layers: Number of encoder layers, and of decoder layers.
        d_model: Width of both residual streams; the MLPs are four times as wide.
        n_heads: Heads of each attention.
        head: A classification head, or the words of the vocabulary that name the classes.
        max_length: Longest input, in tokens.
        initializer_factor: Factor on the standard deviations of the initial weights.
        relative_bias: Further factor on the initial relative position biases. At 1 their standard
            deviation is d_model ** -0.5, next to nothing beside the scores of a narrow network,
            which then learns bags of words; pretrained networks have biases of several units.
        dropout: Probability, everywhere.
    """

    reads: ClassVar[Literal["text"]] = "text"

    family: Literal["t5"]
    classes: tuple[str, ...]
    n_layers: int
    d_model: int
    n_heads: int
    head: Literal["classifier", "label-words"] = "classifier"
    max_length: int = 32
    initializer_factor: float = 1.0
    relative_bias: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "n_heads"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require_heads(self.d_model, self.n_heads)
        require(self.max_length >= 4, "max_length", "at least 4", self.max_length)
        for name in ("initializer_factor", "relative_bias"):
            require(getattr(self, name) > 0, name, "above 0", getattr(self, name))
        require(0 <= self.dropout < 1, "dropout", "from 0 to below 1", self.dropout)
        require_classes(self.classes)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        how = {"classifier": "a classification head", "label-words": "the names of its classes"}
        return (
            f"T5 that answers with {how[self.head]}: {self.n_layers} encoder and {self.n_layers} "
            f"decoder layers, width {self.d_model}, {self.n_heads} heads"
        )

    def build(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> T5ForSequenceClassification | T5ForConditionalGeneration:
        """Fresh weights from the global generator."""
        padding = cast(int, tokenizer.pad_token_id)
        config = T5Config(
            vocab_size=len(tokenizer),
            d_model=self.d_model,
            d_kv=self.d_model // self.n_heads,
            d_ff=4 * self.d_model,
            num_layers=self.n_layers,
            num_heads=self.n_heads,
            dropout_rate=self.dropout,
            classifier_dropout=self.dropout,
            initializer_factor=self.initializer_factor,
            pad_token_id=padding,
            eos_token_id=cast(int, tokenizer.eos_token_id),
            decoder_start_token_id=padding,  # pyright: ignore[reportCallIssue]
            id2label=dict(enumerate(self.classes)),
            label2id={name: i for i, name in enumerate(self.classes)},
        )
        network = _NETWORKS[self.head](config)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if name.endswith("relative_attention_bias.weight"):
                    weight.mul_(self.relative_bias)
        return network
