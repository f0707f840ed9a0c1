"""The training split as tensors, and the order in which its items are visited."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from behavior.errors import DataError
from behavior.examples import TextInput

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class EncodedInputs:
    """Tokenized inputs, padded to the longest.

    Attributes:
        columns: [item, pos] what the model is called with, by name. The attention mask is left
            out where nothing is padded.
    """

    columns: Batch

    def __len__(self) -> int:
        return len(self.columns["input_ids"])

    def take(self, items: Int[Tensor, " batch"]) -> Batch:
        """What the model is called with for these items."""
        return {name: column[items] for name, column in self.columns.items()}


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


def encode(tokenizer: PreTrainedTokenizerBase, inputs: Sequence[TextInput]) -> EncodedInputs:
    """Tokenize texts, or premises with hypotheses.

    Raises:
        DataError: If an input is longer than the model takes, or only some have a hypothesis.
    """
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
