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
from behavior.inputs import Input, TextInput
from patching.models.prompts import Prompt

_BLOCK = 1024
_SHOWN = 60
_LENGTHS = "with different numbers of tokens"
_BOUNDARIES = "whose second text starts at different tokens"
_LONG = "longer than the model takes"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised input.

    Attributes:
        ids: [pos] token ids.
        types: [pos] token types; all 0 where the tokenizer gives none.
        second_start: Where the second text starts, or the hypothesis within a prompt; None if
            there is none, it is empty, or the tokenizer does not tell.
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
        prompt: What makes one text of each input; None where texts are read as they are.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        device: torch.device,
        *,
        takes_types: bool = True,
        prompt: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.takes_types = takes_types
        self.prompt = None if prompt is None else Prompt.parse(prompt)
        self._device = device
        if tokenizer.pad_token_id is None:
            raise CheckpointError(
                "The tokenizer has no padding token. Set pad_token in tokenizer_config.json."
            )

    def encode(self, inputs: Sequence[Input]) -> list[Encoded]:
        """Token ids of each input, special tokens included, however many they are.

        Raises:
            DataError: If an input is an image, or some have a hypothesis and others have none.
        """
        texts = [_as_text(given) for given in inputs]
        return [
            row
            for start in range(0, len(texts), _BLOCK)
            for row in self._encode_block(texts[start : start + _BLOCK])
        ]

    def check_lengths(self, inputs: Sequence[Input], rows: Sequence[Encoded]) -> None:
        """Refuse rows that are longer than the model takes.

        Raises:
            DataError: If there is one; the message quotes the start of the text.
        """
        for given, row in zip(inputs, rows, strict=True):
            if len(row) > self.max_length:
                raise DataError(
                    f"A text of {len(row)} tokens is longer than the {self.max_length} that the "
                    f"model takes: {_as_text(given).text[:_SHOWN]!r}. Shorten it or leave it out."
                )

    def misalignment(self, rows: Sequence[Encoded]) -> str | None:
        """Why values cannot move between these inputs token by token; None if they can."""
        if len({len(row) for row in rows}) > 1:
            return _LENGTHS
        if len({(row.second_start, row.types.tobytes()) for row in rows}) > 1:
            return _BOUNDARIES
        return _LONG if len(rows[0]) > self.max_length else None

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

        Special tokens are words of their own, and so are the words of a prompt.

        Returns:
            The words in order, and for each token the index of its word: [pos].

        Raises:
            DataError: If the tokenizer does not tell to which word a token belongs.
        """
        (first,), seconds, _ = self._texts([text])
        texts = (first, *seconds)
        encoding = self._tokenize([first], seconds)
        if encoding.encodings is None:
            raise DataError(
                "The tokenizer does not tell words apart. Give the model a fast one, with "
                "tokenizer.json."
            )
        encoded = encoding.encodings[0]
        words: list[str] = []
        index: list[int] = []
        begun, previous = 0, None
        for token, sequence, word, (start, end) in zip(
            encoded.tokens, encoded.sequence_ids, encoded.word_ids, encoded.offsets, strict=True
        ):
            if word is None or (sequence, word) != previous:
                words.append(token)
                begun = start
            if word is not None:
                # Some tokenizers count the space before a word in.
                words[-1] = texts[sequence][begun:end].strip() or token
            index.append(len(words) - 1)
            previous = None if word is None else (sequence, word)
        return tuple(words), tuple(index)

    def _encode_block(self, inputs: Sequence[TextInput]) -> list[Encoded]:
        firsts, seconds, hypotheses = self._texts(inputs)
        encoding = self._tokenize(firsts, seconds)
        types = encoding.get("token_type_ids") or [[0] * len(ids) for ids in encoding["input_ids"]]
        starts = _second_starts(encoding, hypotheses)
        return [
            Encoded(np.asarray(ids, dtype=np.int32), np.asarray(kinds, dtype=np.int8), start)
            for ids, kinds, start in zip(encoding["input_ids"], types, starts, strict=True)
        ]

    def _texts(
        self, inputs: Sequence[TextInput]
    ) -> tuple[list[str], list[str], list[int | None] | None]:
        """First texts, second texts if there are any, and where hypotheses start in prompts."""
        if self.prompt is not None:
            filled = [self.prompt.fill(text) for text in inputs]
            return [text for text, _ in filled], [], [start for _, start in filled]
        seconds = [text.hypothesis for text in inputs if text.hypothesis is not None]
        if len(seconds) not in (0, len(inputs)):
            raise DataError(
                "Some inputs have a hypothesis and others have none. Give all of one kind."
            )
        return [text.text for text in inputs], seconds, None

    def _tokenize(self, firsts: list[str], seconds: list[str]) -> Any:
        # verbose=False: the length is checked here, against the model and not the tokenizer.
        return self.tokenizer(
            firsts,
            seconds or None,
            add_special_tokens=True,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            verbose=False,
        )


def _as_text(given: Input) -> TextInput:
    if not isinstance(given, TextInput):
        raise DataError(
            "An input is an image, but the model reads texts. Give it texts, or open an image "
            "model."
        )
    return given


def _second_starts(encoding: Any, hypotheses: list[int | None] | None) -> list[int | None]:
    """First token of each second text or hypothesis; tokenizers that are not fast do not tell.

    Args:
        encoding: What the tokenizer returned.
        hypotheses: Character at which each hypothesis starts in a prompt; None without prompt.
    """
    if encoding.encodings is None:
        return [None] * len(encoding["input_ids"])
    if hypotheses is None:
        sequences = (row.sequence_ids for row in encoding.encodings)
        return [ids.index(1) if 1 in ids else None for ids in sequences]
    return [
        None if start is None else _token_at(row.offsets, start)
        for row, start in zip(encoding.encodings, hypotheses, strict=True)
    ]


def _token_at(offsets: Sequence[tuple[int, int]], character: int) -> int | None:
    """First token that reaches beyond a character; special tokens have the offsets (0, 0)."""
    return next((i for i, (_, end) in enumerate(offsets) if end > character), None)
