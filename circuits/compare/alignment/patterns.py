"""Attention from word to word, as lists of numbers that two models have in common.

The pattern of a head is brought from tokens to words (attention into a word is summed, attention
out of it averaged). Of each input at most `MOST_ENTRIES` pairs of words are kept, the same pairs in
all inputs with as many words, so that the mean over similar inputs can be taken out and memory
stays bounded.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from circuits.compare.alignment.inputs import FEWEST, pool_groups
from probes.words import Word, source_words, target_words, word_patterns

MOST_ENTRIES = 96
_SEED = 0


class PatternReader:
    """Collects the patterns of one kind of row.

    Args:
        stack: As in sites; `dec.x` is cross-attention.
        words: [input][word] tokens of the words.
        group: [input] number of the inputs' group.
    """

    def __init__(
        self, stack: str, words: Sequence[Sequence[Word]], group: Int[np.ndarray, " input"]
    ) -> None:
        self._stack = stack
        self._words = words
        self._group = group
        self._kept: dict[tuple[int, int], dict[int, np.ndarray]] = {}
        self._n_heads = 0

    def add(self, chunk: Sequence[int], pattern: Float[Tensor, "batch head dst src"]) -> None:
        """Keep what is compared of the patterns of some inputs."""
        self._n_heads = pattern.shape[1]
        n_dst = pattern.shape[2]
        by_count: dict[int, list[int]] = {}
        for at, i in enumerate(chunk):
            by_count.setdefault(len(self._words[i]), []).append(at)
        for count, members in by_count.items():
            if not count:
                continue
            words = [self._words[chunk[at]] for at in members]
            sources = [source_words(self._stack, each) for each in words]
            targets = [target_words(self._stack, each, n_dst) for each in words]
            table = word_patterns(pattern[members], targets, sources)
            first, second = self._entries(len(targets[0]), count)
            chosen = table[:, :, first, second].cpu().numpy()
            kept = self._kept.setdefault((len(targets[0]), count), {})
            kept.update((chunk[at], one) for at, one in zip(members, chosen, strict=True))

    def features(self) -> tuple[Float[np.ndarray, "entry head"], Int[np.ndarray, " entry"]]:
        """Patterns less the mean of their group, and the input of each entry."""
        values: list[np.ndarray] = [np.zeros((0, self._n_heads), dtype=np.float32)]
        inputs: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
        for kept in self._kept.values():
            members = np.array(sorted(kept))
            table = np.stack([kept[i] for i in members]).astype(np.float64)
            table = self._less_mean(table, self._group[members])
            values.append(table.transpose(0, 2, 1).reshape(-1, self._n_heads).astype(np.float32))
            inputs.append(np.repeat(members, table.shape[2]))
        return np.concatenate(values), np.concatenate(inputs)

    def _less_mean(
        self, table: Float[np.ndarray, "input head entry"], group: Int[np.ndarray, " input"]
    ) -> Float[np.ndarray, "input head entry"]:
        """Too few inputs of one length have no mean of their own: their rows' mean serves."""
        if len(table) < FEWEST:
            return table - table.mean(axis=2, keepdims=True)
        pooled = pool_groups(group)
        less = table.copy()
        for number in range(int(pooled.max()) + 1):
            less[pooled == number] -= table[pooled == number].mean(axis=0)
        return less

    def _entries(self, n_targets: int, n_sources: int) -> tuple[np.ndarray, np.ndarray]:
        """Which pairs of words are compared: the same in every model."""
        first, second = np.indices((n_targets, n_sources)).reshape(2, -1)
        if self._stack != "dec.x":
            other = first != second
            first, second = first[other], second[other]
        random = np.random.default_rng([_SEED, n_targets, n_sources])
        chosen = np.sort(random.permutation(len(first))[:MOST_ENTRIES])
        return first[chosen], second[chosen]
