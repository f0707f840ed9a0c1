"""Words that two token-aligned inputs share, and the tokens that belong to them.

A word is patched as a whole. Where one input's word is split into tokens otherwise than the
other's, the two are merged up to the next place at which both begin a word.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from patching.models.encoding import TextEncoder
from patching.models.model import PatchableModel


@dataclass(frozen=True, slots=True)
class WordLayout:
    """The aligned words of one pair.

    Attributes:
        words: [word] as written; `nurse/judge` where clean and corrupted differ.
        index: [pos] word of each token.
    """

    words: tuple[str, ...]
    index: tuple[int, ...]


def align_words(model: PatchableModel, pairs: Pairs[Any]) -> list[WordLayout]:
    """The aligned words of each pair, special tokens and those of a prompt included.

    Raises:
        DataError: If the model reads images.
    """
    encoder = model.encoder
    if not isinstance(encoder, TextEncoder):
        raise DataError(f"{model.name!r} reads images, which have no words. Give a text model.")
    return [
        _merge(encoder.words(clean), encoder.words(corrupted))
        for clean, corrupted in zip(pairs.clean, pairs.corrupted, strict=True)
    ]


def word_index(
    layouts: list[WordLayout], n_positions: int, device: torch.device
) -> Int[Tensor, "batch pos"]:
    """Word of each token of a padded batch; -1 at padding."""
    rows = [[*layout.index, *[-1] * (n_positions - len(layout.index))] for layout in layouts]
    return torch.tensor(rows, device=device)


def has_word(layouts: list[WordLayout]) -> Bool[Tensor, "pair word"]:
    """Whether each pair has each word, up to the most words that a pair has."""
    counts = torch.tensor([len(layout.words) for layout in layouts])
    return torch.arange(int(counts.max())) < counts[:, None]


def _merge(
    clean: tuple[tuple[str, ...], tuple[int, ...]],
    corrupted: tuple[tuple[str, ...], tuple[int, ...]],
) -> WordLayout:
    (clean_words, clean_index), (corrupted_words, corrupted_index) = clean, corrupted
    groups: list[tuple[list[int], list[int]]] = []
    index: list[int] = []
    before = (-1, -1)
    for a, b in zip(clean_index, corrupted_index, strict=True):
        if a != before[0] and b != before[1]:
            groups.append(([], []))
        for members, word in zip(groups[-1], (a, b), strict=True):
            if word not in members:
                members.append(word)
        index.append(len(groups) - 1)
        before = (a, b)
    words = tuple(
        _label(" ".join(clean_words[i] for i in ours), " ".join(corrupted_words[i] for i in theirs))
        for ours, theirs in groups
    )
    return WordLayout(words, tuple(index))


def _label(clean: str, corrupted: str) -> str:
    return clean if clean == corrupted else f"{clean}/{corrupted}"
