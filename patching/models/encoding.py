"""From inputs to token ids, and from token ids to padded batches.

Rows are tokenised once, kept as compact arrays and padded on the right when a batch is made, so
that the first token is always row 0 and the padding of a batch is that of its longest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from behavior.errors import CheckpointError, DataError
from behavior.examples import TextInput

_BLOCK = 1024
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised input.

    Attributes:
        ids: [pos] token ids.
        types: [pos] token types; all 0 where the tokenizer gives none.
        second_start: Where the second text starts; None if there is none, or it is empty.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    second_start: int | None = None

    def __len__(self) -> int:
        return len(self.ids)


class TextEncoder:
    """A tokenizer with the limits of its model.

    Attributes:
        tokenizer: The transformers tokenizer.
        max_length: Longest row the model takes, in tokens.
        takes_types: Whether the model tells token types apart.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        device: torch.device,
        *,
        takes_types: bool = True,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.takes_types = takes_types
        self._device = device
        if tokenizer.pad_token_id is None:
            raise CheckpointError(
                "The tokenizer has no padding token. Set pad_token in tokenizer_config.json."
            )

    def encode(self, inputs: Sequence[TextInput]) -> list[Encoded]:
        """Token ids of each input, special tokens included, however many they are.

        Raises:
            DataError: If some inputs have a hypothesis and others have none.
        """
        return [
            row
            for start in range(0, len(inputs), _BLOCK)
            for row in self._encode_block(inputs[start : start + _BLOCK])
        ]

    def check_lengths(self, inputs: Sequence[TextInput], rows: Sequence[Encoded]) -> None:
        """Refuse rows that are longer than the model takes.

        Raises:
            DataError: If there is one; the message quotes the start of the text.
        """
        for text, row in zip(inputs, rows, strict=True):
            if len(row) > self.max_length:
                raise DataError(
                    f"A text of {len(row)} tokens is longer than the {self.max_length} that the "
                    f"model takes: {text.text[:_SHOWN]!r}. Shorten it or leave it out."
                )

    def batch(self, rows: Sequence[Encoded]) -> dict[str, Tensor]:
        """Keyword arguments for the model: rows padded on the right to the longest of them."""
        length = max(len(row) for row in rows)
        ids = np.full((len(rows), length), self.tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        types = np.full((len(rows), length), self.tokenizer.pad_token_type_id, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row.ids
            mask[i, : len(row)] = 1
            types[i, : len(row)] = row.types
        arrays = {"input_ids": ids, "attention_mask": mask}
        if self.takes_types and "token_type_ids" in self.tokenizer.model_input_names:
            arrays["token_type_ids"] = types
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}

    def words(self, text: TextInput) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Words of an input, as they are written there, and the word of each token.

        Special tokens are words of their own.

        Returns:
            The words in order, and for each token the index of its word: [pos].
        """
        encoding = self._tokenize([text]).encodings[0]
        texts = (text.text, text.hypothesis or "")
        words: list[str] = []
        index: list[int] = []
        begun, previous = 0, None
        for token, sequence, word, (start, end) in zip(
            encoding.tokens,
            encoding.sequence_ids,
            encoding.word_ids,
            encoding.offsets,
            strict=True,
        ):
            if word is None or (sequence, word) != previous:
                words.append(token)
                begun = start
            if word is not None:
                words[-1] = texts[sequence][begun:end]
            index.append(len(words) - 1)
            previous = None if word is None else (sequence, word)
        return tuple(words), tuple(index)

    def _encode_block(self, inputs: Sequence[TextInput]) -> list[Encoded]:
        encoding = self._tokenize(inputs)
        types = encoding.get("token_type_ids") or [[0] * len(ids) for ids in encoding["input_ids"]]
        starts = _second_starts(encoding)
        return [
            Encoded(np.asarray(ids, dtype=np.int32), np.asarray(kinds, dtype=np.int8), start)
            for ids, kinds, start in zip(encoding["input_ids"], types, starts, strict=True)
        ]

    def _tokenize(self, inputs: Sequence[TextInput]) -> Any:
        seconds = [text.hypothesis for text in inputs if text.hypothesis is not None]
        if len(seconds) not in (0, len(inputs)):
            raise DataError(
                "Some inputs have a hypothesis and others have none. Give all of one kind."
            )
        # verbose=False: the length is checked here, against the model and not the tokenizer.
        return self.tokenizer(
            [text.text for text in inputs],
            seconds or None,
            add_special_tokens=True,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )


def _second_starts(encoding: Any) -> list[int | None]:
    """First token of each second text; tokenizers that are not fast do not tell."""
    if encoding.encodings is None:
        return [None] * len(encoding["input_ids"])
    sequences = (row.sequence_ids for row in encoding.encodings)
    return [ids.index(1) if 1 in ids else None for ids in sequences]
