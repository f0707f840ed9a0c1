"""What the evidence of a head alignment is taken from: inputs, their groups and shared words.

Evidence is taken from at most `MOST_UNITS` quads (pairs, where there are no quads). Each input
belongs to a group, its template and cell, whose mean is taken out of all evidence; groups of fewer
than `FEWEST` inputs are pooled. Each quad belongs to one of `N_BLOCKS` blocks, which are left out
in turn to see how sure the numbers are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from jaxtyping import Int

from behavior.errors import DataError
from behavior.examples import Contrast, Pairs
from behavior.inputs import Input
from patching.models.encoding import TextEncoder
from patching.models.model import PatchableModel

N_BLOCKS = 10
MOST_UNITS = 128
FEWEST = 8
LEAST_UNITS = 2 * N_BLOCKS
"""Quads in the chosen half without which nothing can be said."""

Word = tuple[int, ...]
"""Positions of the tokens of a word."""


@dataclass(frozen=True, eq=False)
class EvidenceInputs:
    """Inputs of the chosen quads.

    Attributes:
        units: [unit] ids of the quads.
        blocks: [unit] block of each quad.
        pairs: The pairs of these quads, by contrast.
        inputs: [input] what the models read.
        unit: [input] position of its quad in `units`.
        group: [input] number of its template and cell.
    """

    units: tuple[str, ...]
    blocks: Int[np.ndarray, " unit"]
    pairs: Mapping[Contrast, Pairs[Any]]
    inputs: tuple[Input, ...]
    unit: Int[np.ndarray, " input"]
    group: Int[np.ndarray, " input"]

    def blocks_of(self, units: Sequence[str]) -> Int[np.ndarray, " row"]:
        """Block of each row's quad."""
        position = {unit: i for i, unit in enumerate(self.units)}
        return self.blocks[[position[unit] for unit in units]]


def evidence_inputs(
    pairs_by_contrast: Mapping[Contrast, Pairs[Any]], chosen: Sequence[str], seed: int
) -> EvidenceInputs:
    """The inputs of some quads, or of as many of them as are used.

    Raises:
        DataError: If they are too few.
    """
    template_of = unit_templates(pairs_by_contrast)
    order = np.random.default_rng(seed).permutation(len(chosen))
    used = sorted(list(chosen)[i] for i in order[:MOST_UNITS].tolist())
    if len(used) < LEAST_UNITS:
        raise DataError(
            f"Head alignment is fitted on one half of the quads and needs at least {LEAST_UNITS} "
            f"in it, but there are {len(used)}. Give at least {2 * LEAST_UNITS} quads."
        )
    taken: dict[Contrast, Pairs[Any]] = {
        contrast: _take(pairs, used) for contrast, pairs in pairs_by_contrast.items()
    }
    rows = _input_rows([pairs for pairs in taken.values() if len(pairs)])
    position = {unit: i for i, unit in enumerate(used)}
    keys = [(template_of[unit], cell) for _, unit, cell in rows]
    names = {key: i for i, key in enumerate(sorted(set(keys)))}
    return EvidenceInputs(
        units=tuple(used),
        blocks=_blocks(used, template_of, seed),
        pairs={contrast: pairs for contrast, pairs in taken.items() if len(pairs)},
        inputs=tuple(given for given, _, _ in rows),
        unit=np.array([position[unit] for _, unit, _ in rows]),
        group=pool_groups(np.array([names[key] for key in keys])),
    )


def unit_templates(pairs_by_contrast: Mapping[Contrast, Pairs[Any]]) -> dict[str, str]:
    """Template of each quad, or of each pair where the data hold no quads."""
    return {
        unit: template
        for pairs in pairs_by_contrast.values()
        for unit, template in zip(pairs.units, pairs.templates, strict=True)
    }


def pool_groups(group: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """The groups, numbered anew, with small ones as one."""
    _, codes, counts = np.unique(group, return_inverse=True, return_counts=True)
    small = counts[codes] < FEWEST
    return np.unique(np.where(small, -1, codes), return_inverse=True)[1]


def shared_words(
    models: Sequence[PatchableModel], inputs: Sequence[Input]
) -> list[list[list[Word]]]:
    """Tokens of the words that all models see, without special tokens: [model][input][word].

    The words of an image are its patches, which models share if they have as many. Models whose
    tokenizers cut a text into other words share those that are spelt alike and in order.
    """
    if not isinstance(models[0].encoder, TextEncoder):
        return _shared_patches(models, len(inputs))
    found: list[list[list[Word]]] = [[] for _ in models]
    for given in inputs:
        seen = [_words(model, given) for model in models]
        matches = [_matches(seen[0], other) for other in seen[1:]]
        kept = [i for i in range(len(seen[0])) if all(i in match for match in matches)]
        found[0].append([seen[0][i][1] for i in kept])
        for words, other, match in zip(found[1:], seen[1:], matches, strict=True):
            words.append([other[match[i]][1] for i in kept])
    return found


def _take(pairs: Pairs[Any], units: Sequence[str]) -> Pairs[Any]:
    known = set(units)
    return pairs.take(i for i, unit in enumerate(pairs.units) if unit in known)


def _input_rows(contrasts: Sequence[Pairs[Any]]) -> list[tuple[Input, str, str]]:
    """Each input once, with its quad and its cell; without quads a cell is a side of the pair."""
    rows: list[tuple[Input, str, str]] = []
    seen: set[str] = set()
    for pairs in contrasts:
        for i, step in enumerate(pairs.steps):
            if pairs.units[i] in seen:
                continue
            clean, _, corrupted = step.partition("->")
            rows.append((pairs.clean[i], pairs.units[i], clean or f"{pairs.contrast} clean"))
            other = corrupted or f"{pairs.contrast} corrupted"
            rows.append((pairs.corrupted[i], pairs.units[i], other))
        seen.update(pairs.units)
    return rows


def _blocks(
    units: Sequence[str], template_of: Mapping[str, str], seed: int
) -> Int[np.ndarray, " unit"]:
    """Each template is dealt out evenly."""
    random = np.random.default_rng(seed + 1).permutation(len(units))
    order = sorted(range(len(units)), key=lambda i: (template_of[units[i]], random[i]))
    blocks = np.empty(len(units), dtype=np.int64)
    blocks[order] = np.arange(len(units)) % N_BLOCKS
    return blocks


def _words(model: PatchableModel, given: Input) -> list[tuple[str, Word]]:
    """Words of a text with their tokens."""
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
    counts = [_n_patches(model) for model in models]
    if len(set(counts)) > 1:
        return [[[] for _ in range(n_inputs)] for _ in models]
    found: list[list[list[Word]]] = []
    for model, n in zip(models, counts, strict=True):
        before = model.encoder.n_positions - n  # pyright: ignore[reportAttributeAccessIssue]
        found.append([[(before + i,) for i in range(n)]] * n_inputs)
    return found


def _n_patches(model: PatchableModel) -> int:
    config: Any = model.hf.config
    size, patch = (
        value if isinstance(value, (list, tuple)) else (value, value)
        for value in (config.image_size, config.patch_size)
    )
    return (size[0] // patch[0]) * (size[1] // patch[1])
