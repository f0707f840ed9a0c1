"""A network with what prepares its inputs, as one function from inputs to logits of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import BaseImageProcessor, PreTrainedModel, T5ForConditionalGeneration

from behavior.inputs import Input
from distillation.data import Batch, EncodedInputs, Preprocessor, encode
from patching.models.label_words import label_token_ids


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its tokenizer or image processor.

    A T5 that generates text is read as a classifier: its decoder sees its start token alone, and
    the logits are those of the first tokens of the names of the classes.

    Attributes:
        model: The network, as a Hugging Face model.
        preprocessor: Its tokenizer or image processor.
        label_tokens: Token of each class where the answer is a word, else None.
    """

    model: PreTrainedModel
    preprocessor: Preprocessor
    label_tokens: tuple[int, ...] | None = None

    @classmethod
    def of(cls, model: PreTrainedModel, preprocessor: Preprocessor) -> "Classifier":
        """A network that answers with logits of classes, or with the names of its classes.

        Raises:
            CheckpointError: If the names of two classes start with the same token.
        """
        tokens = None
        if isinstance(model, T5ForConditionalGeneration):
            assert not isinstance(preprocessor, BaseImageProcessor), "T5 reads text"
            tokens = label_token_ids(preprocessor, class_names(model))
        return cls(model, preprocessor, tokens)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits."""
        return class_names(self.model)

    def encode(self, inputs: Sequence[Input]) -> EncodedInputs:
        """Inputs as the network takes them.

        Raises:
            DataError: If an input is of another kind or longer than the model takes.
        """
        return encode(self.preprocessor, inputs)

    def logits(self, batch: Batch, model: nn.Module | None = None) -> Float[Tensor, "batch n"]:
        """Logits of one batch; `model` is the network as it is wrapped for training."""
        network = model or self.model
        if self.label_tokens is not None:
            start = self._start(len(batch["input_ids"]))
            first = network(**batch, decoder_input_ids=start, use_cache=False).logits[:, 0]
            return first[:, list(self.label_tokens)]
        options = {"use_cache": False} if self.model.config.is_encoder_decoder else {}
        return network(**batch, **options).logits

    @torch.no_grad()
    def predict(
        self, inputs: EncodedInputs, batch_size: int = 256
    ) -> Float[Tensor, "item n_classes"]:
        """Logits in evaluation mode, in the order of the inputs, on the CPU."""
        was_training = self.model.training
        self.model.eval()
        device = self.model.device
        by_length = inputs.order_by_length()
        found = [
            self.logits({name: x.to(device) for name, x in inputs.take(batch).items()}).cpu()
            for batch in by_length.split(batch_size)
        ]
        self.model.train(was_training)
        return torch.cat(found)[by_length.argsort()]

    def _start(self, n: int) -> Int[Tensor, "batch 1"]:
        token = cast(int, self.model.config.decoder_start_token_id)
        return torch.full((n, 1), token, device=self.model.device)


def class_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Names of a model's classes in the order of its logits."""
    names = cast(dict[int, str], model.config.id2label)
    return tuple(names[i] for i in range(len(names)))
