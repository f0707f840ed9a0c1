"""Calls a model so that logits of classes come out, whatever its class returns."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedModel

from behavior.errors import DataError
from patching.models.architecture import Architecture
from patching.models.label_words import label_token_ids
from patching.models.processors import Processor


class Caller:
    """A model as a function from a batch to the logits of its classes.

    A classifier's logits are taken as they are. A model that answers with words is asked for the
    first word: the decoder sees its start token, and the logits are those of the label words.

    Args:
        hf: The model.
        architecture: Its declaration.
        processor: Its tokenizer, which says where a label word starts.
        label_words: Class name -> word, for a model that answers with words.

    Attributes:
        words: Token of each class, for such a model; else None.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        architecture: Architecture,
        processor: Processor,
        label_words: Mapping[str, str] | None,
    ) -> None:
        self._hf = hf
        self._options = {"use_cache": False} if architecture.caches else {}
        ends = "end of text" in architecture.head
        self._end: int | None = hf.config.eos_token_id if ends else None
        self.words: Sequence[int] | None = None
        if architecture.label_words and not isinstance(processor, BaseImageProcessor):
            names = cast(dict[int, str], hf.config.id2label)
            words = label_words or {name: name for name in names.values()}
            self.words = label_token_ids(processor, list(words.values()))

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch."""
        if self.words is None:
            if self._end is not None:
                _check_ends(batch["input_ids"], self._end)
            return self._hf(**batch, **self._options).logits
        start = self._start(len(batch["input_ids"]))
        out = self._hf(**batch, decoder_input_ids=start, **self._options)
        return out.logits[:, 0, list(self.words)]

    def _start(self, n: int) -> Int[Tensor, "batch 1"]:
        token: int = self._hf.config.decoder_start_token_id
        return torch.full((n, 1), token, device=self._hf.device)


def _check_ends(ids: Int[Tensor, "batch pos"], end: int) -> None:
    """The model reads its answer at the last end of text, and wants as many in every row."""
    counts = (ids == end).sum(dim=1).unique()
    if len(counts) != 1:
        raise DataError(
            f"Some inputs hold {int(counts.min())} tokens that end a text, others "
            f"{int(counts.max())}; the model needs as many in all. Give all or no inputs a "
            "hypothesis, and take the end-of-text token out of the texts."
        )
