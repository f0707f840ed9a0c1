"""Attention patterns of two models, from word to word, head by head.

1. Patterns are brought from tokens to the words that both models see (`probes.words`). What goes
   elsewhere (special tokens, words that one model does not see) is one more column, so every row
   still sums to one. The words of an image are its patches.
2. The distance of two heads is the Jensen-Shannon divergence of their rows, averaged over the words
   that attend: 0 if they attend alike, 1 bit if they never attend to the same word. Only heads of
   one kind of row are compared (encoder, decoder, cross-attention).
3. Attention to overlapping words is what falls on words that premise and hypothesis share, less
   what would fall there if a word's attention were spread evenly over all words. It is 0 for a head
   that does not care.

A pattern says where a head looks, not what it moves or whether anybody reads that. Nearest heads of
two models are no counterparts: `circuits.compare` asks whether heads can be matched at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from behavior.errors import DataError
from behavior.inputs import Input, TextInput
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from probes.stream import Progress
from probes.words import Word, source_words, target_words, text_words, word_patterns

WordTable = Float[np.ndarray, "_ _ _"]
"""Attention from word to word: [head, target, source]; the last source is everything else."""


@dataclass(frozen=True, eq=False)
class WordPatterns:
    """Patterns of all heads of one model, by kind of row.

    Attributes:
        heads: Names of the heads, by stack as in sites (empty where there is one stack).
        tables: [input] a table for each input, by stack.
    """

    heads: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, tuple[WordTable, ...]]


@dataclass(frozen=True, eq=False)
class HeadDistances:
    """Jensen-Shannon divergence of heads of two models on the same inputs, in bits.

    Attributes:
        teacher: Names of the teacher's heads.
        student: Names of the student's heads.
        distances: From 0 to 1; NaN for heads that are not of one kind.
    """

    teacher: tuple[str, ...]
    student: tuple[str, ...]
    distances: Float[np.ndarray, "input teacher student"]


def read_patterns(
    model: PatchableModel,
    inputs: Sequence[Input],
    words: Sequence[Sequence[Word]],
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> WordPatterns:
    """Attention from word to word of every head.

    Args:
        model: The model.
        inputs: What it reads.
        words: [input, word] tokens of the words; see `probes.words.shared_words`.
        batch_size: Inputs in one forward.
        progress: Told how many inputs are done.

    Raises:
        DataError: If the model has no attention.
    """
    stacks = _stacks(model)
    found: dict[str, list[WordTable]] = {
        stack: [np.zeros((0, 0, 0))] * len(inputs) for stack in stacks
    }
    sites = [row.site("pattern") for rows in stacks.values() for row in rows]
    done = 0
    for chunk in model.chunks([len(row) for row in model.encode(inputs)], batch_size):
        _, cache = model.run_with_cache([inputs[i] for i in chunk], sites=sites)
        for stack, rows in stacks.items():
            pattern = torch.cat([cache[row.site("pattern")] for row in rows], dim=1)
            by_count: dict[int, list[int]] = {}
            for at, i in enumerate(chunk):
                by_count.setdefault(len(words[i]), []).append(at)
            for members in by_count.values():
                given = [words[chunk[at]] for at in members]
                targets = [target_words(stack, each, pattern.shape[2]) for each in given]
                sources = [source_words(stack, each) for each in given]
                table = word_patterns(pattern[members], targets, sources)
                elsewhere = 1 - table.sum(dim=3, keepdim=True)
                whole = torch.cat([table, elsewhere.clamp(min=0)], dim=3).cpu().numpy()
                for at, one in zip(members, whole, strict=True):
                    found[stack][chunk[at]] = one
        done += len(chunk)
        if progress is not None:
            progress(done, len(inputs))
    heads = {stack: _names(rows) for stack, rows in stacks.items()}
    return WordPatterns(heads, {stack: tuple(each) for stack, each in found.items()})


def head_distances(teacher: WordPatterns, student: WordPatterns) -> HeadDistances:
    """Distance of every head of one model to every head of the other, on every input."""
    ours, theirs = all_heads(teacher), all_heads(student)
    n = len(next(iter(teacher.tables.values())))
    found = np.full((n, len(ours), len(theirs)), np.nan, dtype=np.float32)
    for stack in set(teacher.heads) & set(student.heads):
        rows = [ours.index(head) for head in teacher.heads[stack]]
        columns = [theirs.index(head) for head in student.heads[stack]]
        pairs = zip(teacher.tables[stack], student.tables[stack], strict=True)
        for i, (one, other) in enumerate(pairs):
            if one.shape[1:] == other.shape[1:] and one.shape[1]:
                found[i][np.ix_(rows, columns)] = _between(one, other)
    return HeadDistances(ours, theirs, found)


def divergence(
    first: Float[np.ndarray, "*row source"], second: Float[np.ndarray, "*row source"]
) -> Float[np.ndarray, "*row"]:
    """Jensen-Shannon divergence of rows that sum to one, in bits: symmetric, from 0 to 1."""
    middle = (first + second) / 2
    found = _entropy(middle) - (_entropy(first) + _entropy(second)) / 2
    return np.clip(found, 0.0, 1.0)


def overlap_attention(
    model: PatchableModel,
    inputs: Sequence[Input],
    words: Sequence[Sequence[Word]],
    patterns: WordPatterns,
) -> Float[np.ndarray, "input head"]:
    """Share of each head's attention on overlapping words, beyond an even spread.

    Heads in the order of the stacks. NaN for an input without overlapping words, or all of whose
    words overlap, and for cross-attention and decoders asked for one word.

    Raises:
        DataError: If the inputs are no pairs of texts.
    """
    flags = overlapping_words(model, inputs, words)
    columns: list[np.ndarray] = []
    for stack, heads in patterns.heads.items():
        found = np.full((len(inputs), len(heads)), np.nan)
        for i, (table, overlaps) in enumerate(zip(patterns.tables[stack], flags, strict=True)):
            if 0 < overlaps.sum() < len(overlaps) and table.shape[1] == len(overlaps):
                within = table[:, :, :-1]
                on = within[:, :, overlaps].sum(axis=(1, 2))
                found[i] = (on - overlaps.mean() * within.sum(axis=(1, 2))) / table.shape[1]
        columns.append(found)
    return np.concatenate(columns, axis=1)


def overlapping_words(
    model: PatchableModel, inputs: Sequence[Input], words: Sequence[Sequence[Word]]
) -> list[np.ndarray]:
    """Whether each word stands in the premise and in the hypothesis: [input, word].

    Raises:
        DataError: If the inputs are no pairs of texts, or the tokenizer does not tell them apart.
    """
    found: list[np.ndarray] = []
    for given, row, kept in zip(inputs, model.encode(inputs), words, strict=True):
        start: int | None = getattr(row, "second_start", None)
        if not isinstance(given, TextInput) or start is None:
            raise DataError(
                "Overlapping words need texts with premise and hypothesis, and a fast tokenizer "
                "(tokenizer.json). Leave them out."
            )
        spelt = [(word, at, at[0] >= start) for word, at in text_words(model, given)]
        sides = {
            side: {word for word, _, where in spelt if where == side} for side in (False, True)
        }
        both = {at for word, at, _ in spelt if word in sides[False] & sides[True]}
        found.append(np.array([at in both for at in kept], dtype=bool))
    return found


def all_heads(patterns: WordPatterns) -> tuple[str, ...]:
    """Names of all heads, in the order of the stacks."""
    return tuple(head for heads in patterns.heads.values() for head in heads)


def _stacks(model: PatchableModel) -> dict[str, list[LayerModules]]:
    found: dict[str, list[LayerModules]] = {}
    for row in model.modules.layers:
        if row.has("pattern"):
            found.setdefault(row.stack, []).append(row)
    if not found:
        raise DataError(f"{model.name!r} has no attention. Give a transformer.")
    return found


def _names(rows: Sequence[LayerModules]) -> tuple[str, ...]:
    return tuple(str(head) for row in rows for head in row.heads)


def _between(one: WordTable, other: WordTable) -> Float[np.ndarray, "teacher student"]:
    first, second = one.astype(np.float64), other.astype(np.float64)
    spread = (np.broadcast_to(head, second.shape) for head in first)
    return np.stack([divergence(head, second).mean(axis=-1) for head in spread])


def _entropy(rows: Float[np.ndarray, "*row source"]) -> Float[np.ndarray, "*row"]:
    safe = np.where(rows > 0, rows, 1.0)
    return -(safe * np.log2(safe)).sum(axis=-1)
