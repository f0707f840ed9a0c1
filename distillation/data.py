"""The training split as tensors, and the order in which its items are visited."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import BaseImageProcessor, PreTrainedTokenizerBase

from behavior.errors import DataError
from behavior.inputs import ImageInput, Input, TextInput

Batch = dict[str, Tensor]

Preprocessor = PreTrainedTokenizerBase | BaseImageProcessor
"""What turns inputs into what a model is called with, saved in the model's folder."""


InputT = TypeVar("InputT", TextInput, ImageInput)


@dataclass(frozen=True, slots=True)
class EncodedInputs:
    """Inputs as tensors: texts tokenized and padded to the longest, images as pixel values.

    Attributes:
        columns: [item, pos] or [item, channel, height, width] what the model is called with, by
            name. The attention mask is left out where nothing is padded.
    """

    columns: Batch

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, items: Int[Tensor, " batch"]) -> Batch:
        """What the model is called with for these items, without padding that all of them have."""
        batch = {name: column[items] for name, column in self.columns.items()}
        mask = batch.get("attention_mask")
        if mask is None:
            return batch
        length = int(mask.any(0).nonzero().max()) + 1
        return {name: column[:, :length] for name, column in batch.items()}

    def order_by_length(self) -> Int[Tensor, " item"]:
        """Positions of all items, shorter ones first, so that batches hold little padding."""
        mask = self.columns.get("attention_mask")
        if mask is None:
            return torch.arange(len(self))
        return mask.sum(1).argsort(stable=True)


class IndexedInputs(Dataset[Batch]):
    """Inputs that a data loader reads a batch at a time; `items` says which ones they are."""

    def __init__(self, inputs: EncodedInputs) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitems__(self, indices: list[int]) -> Batch:
        items = torch.tensor(indices)
        return {**self.inputs.take(items), "items": items}


class FixedOrder(Sampler[int]):
    """All items of a training in an order drawn beforehand, so that a resumed run skips exactly."""

    def __init__(self, order: Int[Tensor, " visit"]) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order.tolist())


def encode(preprocessor: Preprocessor, inputs: Sequence[Input]) -> EncodedInputs:
    """Texts, premises with hypotheses, or images, as the model of this preprocessor takes them.

    Raises:
        DataError: If an input is of another kind or longer than the model takes, or only some
            have a hypothesis.
    """
    if isinstance(preprocessor, BaseImageProcessor):
        return _encode_images(preprocessor, _all_of(ImageInput, inputs, "images"))
    return _encode_texts(preprocessor, _all_of(TextInput, inputs, "text"))


def _encode_images(processor: BaseImageProcessor, inputs: Sequence[ImageInput]) -> EncodedInputs:
    encoded = processor(
        [x.pixels() for x in inputs], input_data_format="channels_last", return_tensors="pt"
    )
    return EncodedInputs({"pixel_values": encoded["pixel_values"]})


def _encode_texts(tokenizer: PreTrainedTokenizerBase, inputs: Sequence[TextInput]) -> EncodedInputs:
    hypotheses = [x.hypothesis for x in inputs if x.hypothesis is not None]
    if len(hypotheses) not in (0, len(inputs)):
        raise DataError(
            f"{len(hypotheses)} of {len(inputs)} inputs have a hypothesis. Give all or none one."
        )
    encoded = tokenizer(
        [x.text for x in inputs],
        hypotheses or None,
        padding=True,
        return_tensors="pt",
        return_attention_mask=True,
    )
    columns: Batch = {name: encoded[name] for name in tokenizer.model_input_names}
    length = columns["input_ids"].shape[1]
    if length > tokenizer.model_max_length:
        raise DataError(
            f"An input has {length} tokens, but the model takes {tokenizer.model_max_length}. "
            "Raise model.max_length."
        )
    if bool(columns["attention_mask"].all()):
        del columns["attention_mask"]
    return EncodedInputs(columns)


def _all_of(kind: type[InputT], inputs: Sequence[Input], expected: str) -> list[InputT]:
    fitting = [x for x in inputs if isinstance(x, kind)]
    if len(fitting) < len(inputs):
        raise DataError(
            f"The model reads {expected}, but {len(inputs) - len(fitting)} of {len(inputs)} inputs "
            "are of another kind. Choose a task and a model that fit each other."
        )
    return fitting


def draw_order(
    n_items: int,
    n_visits: int,
    generator: torch.Generator,
    weights: Float[Tensor, " item"] | None = None,
) -> Int[Tensor, " visit"]:
    """Which item is visited when: shuffled passes, or draws with replacement by weight."""
    if weights is not None:
        return torch.multinomial(weights.double(), n_visits, replacement=True, generator=generator)
    n_passes = -(-n_visits // n_items)
    passes = [torch.randperm(n_items, generator=generator) for _ in range(n_passes)]
    return torch.cat(passes)[:n_visits]
