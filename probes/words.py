"""Words that several models see in one input, and attention brought from tokens to words.

The words of an image are its patches. Attention into a word is summed over its tokens, attention
out of it averaged, so that a row still says how the word's attention is spread.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.inputs import Input
from patching.models.encoding import TextEncoder
from patching.models.model import PatchableModel

Word = tuple[int, ...]
"""Positions of the tokens of a word."""


def shared_words(
    models: Sequence[PatchableModel], inputs: Sequence[Input]
) -> list[list[list[Word]]]:
    """Tokens of the words that all models see, without special tokens: [model, input, word].

    The words of an image are its patches, which models share if they have as many. Models whose
    tokenizers cut a text into other words share those that are spelt alike and in order.
    """
    if not isinstance(models[0].encoder, TextEncoder):
        return _shared_patches(models, len(inputs))
    found: list[list[list[Word]]] = [[] for _ in models]
    for given in inputs:
        seen = [text_words(model, given) for model in models]
        matches = [_matches(seen[0], other) for other in seen[1:]]
        kept = [i for i in range(len(seen[0])) if all(i in match for match in matches)]
        found[0].append([seen[0][i][1] for i in kept])
        for words, other, match in zip(found[1:], seen[1:], matches, strict=True):
            words.append([other[match[i]][1] for i in kept])
    return found


def text_words(model: PatchableModel, given: Input) -> list[tuple[str, Word]]:
    """Words of a text, in lower case and without special tokens, each with its tokens."""
    assert isinstance(model.encoder, TextEncoder)
    words, index = model.encoder.words(given)  # pyright: ignore[reportArgumentType]
    special = set(model.tokenizer.all_special_tokens)
    tokens: list[list[int]] = [[] for _ in words]
    for position, word in enumerate(index):
        tokens[word].append(position)
    return [
        (word.casefold(), tuple(at))
        for word, at in zip(words, tokens, strict=True)
        if word not in special
    ]


def n_patches(model: PatchableModel) -> int:
    """Number of patches that a vision transformer cuts an image into."""
    rows, columns = patch_grid(model)
    return rows * columns


def patch_grid(model: PatchableModel) -> tuple[int, int]:
    """Rows and columns of patches that a vision transformer cuts an image into."""
    config: Any = model.hf.config
    size, patch = (
        value if isinstance(value, (list, tuple)) else (value, value)
        for value in (config.image_size, config.patch_size)
    )
    return size[0] // patch[0], size[1] // patch[1]


def source_words(stack: str, words: Sequence[Word]) -> Sequence[Word]:
    """Tokens of the keys of each word, in one kind of row; see `patching.models.nodes.Site`."""
    return _later(words) if stack == "dec" else words


def target_words(stack: str, words: Sequence[Word], n_positions: int) -> Sequence[Word]:
    """Tokens of the queries of each word; a decoder asked for one word has one position."""
    if not stack.startswith("dec"):
        return words
    return [(0,)] if n_positions == 1 else _later(words)


def word_patterns(
    pattern: Float[Tensor, "batch head dst src"],
    targets: Sequence[Sequence[Word]],
    sources: Sequence[Sequence[Word]],
) -> Float[Tensor, "batch head target source"]:
    """Attention from word to word of inputs that have as many words each."""
    src = _selection(sources, pattern.shape[3]).to(pattern)
    dst = _selection(targets, pattern.shape[2]).to(pattern)
    dst = dst / dst.sum(dim=2, keepdim=True).clamp(min=1)
    return torch.einsum("bwd,bhds,bvs->bhwv", dst, pattern, src)


def _matches(
    ours: Sequence[tuple[str, Word]], theirs: Sequence[tuple[str, Word]]
) -> dict[int, int]:
    """Position among theirs of each of our words that they have too."""
    a, b = [word for word, _ in ours], [word for word, _ in theirs]
    if a == b:
        return {i: i for i in range(len(a))}
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return {one.a + i: one.b + i for one in blocks for i in range(one.size)}


def _shared_patches(models: Sequence[PatchableModel], n_inputs: int) -> list[list[list[Word]]]:
    counts = [n_patches(model) for model in models]
    if len(set(counts)) > 1:
        return [[[] for _ in range(n_inputs)] for _ in models]
    found: list[list[list[Word]]] = []
    for model, n in zip(models, counts, strict=True):
        before = model.encoder.n_positions - n  # pyright: ignore[reportAttributeAccessIssue]
        found.append([[(before + i,) for i in range(n)]] * n_inputs)
    return found


def _later(words: Sequence[Word]) -> list[Word]:
    """The decoder of a classifier reads the input one position later."""
    return [tuple(position + 1 for position in word) for word in words]


def _selection(
    words: Sequence[Sequence[Word]], n_positions: int
) -> Float[Tensor, "input word pos"]:
    chosen = torch.zeros(len(words), len(words[0]), n_positions)
    for i, each in enumerate(words):
        for word, positions in enumerate(each):
            for position in positions:
                if position < n_positions:
                    chosen[i, word, position] = 1
    return chosen
