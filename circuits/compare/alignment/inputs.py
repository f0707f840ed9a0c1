"""What the evidence of a head alignment is taken from: inputs, their groups and shared words.

Evidence is taken from at most `MOST_UNITS` quads (pairs, where there are no quads). Each input
belongs to a group, its template and cell, whose mean is taken out of all evidence; groups of fewer
than `FEWEST` inputs are pooled. Each quad belongs to one of `N_BLOCKS` blocks, which are left out
in turn to see how sure the numbers are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from behavior.errors import DataError
from behavior.examples import Contrast, Pairs
from behavior.inputs import Input
from probes.words import Word as Word
from probes.words import shared_words as shared_words

N_BLOCKS = 10
MOST_UNITS = 128
FEWEST = 8
LEAST_UNITS = 2 * N_BLOCKS
"""Quads in the chosen half without which nothing can be said."""


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
