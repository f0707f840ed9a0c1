"""For each example another one with the same answer and length, to exchange activations with."""

from collections.abc import Sequence

import numpy as np

from behavior.examples import CELLS, Cell, Quad
from behavior.inputs import Input


def other_examples(quads: Sequence[Quad[Input]], lengths: Sequence[int], seed: int) -> list[int]:
    """For each cell of each quad the same cell of another quad with its answer and length.

    Where there is none, any example with its answer and length; at last itself.

    Args:
        quads: The quads.
        lengths: Positions of each cell, quad by quad.
        seed: Of the draw.

    Returns:
        [cell of each quad] position among all cells.
    """
    rng = np.random.default_rng(seed)
    places: list[tuple[Quad[Input], Cell]] = [(quad, cell) for quad in quads for cell in CELLS]
    truths = [quad.truth(cell).casefold() for quad, cell in places]
    close = _exchanged([(places[i][1], t, lengths[i]) for i, t in enumerate(truths)], rng)
    loose = _exchanged([(t, lengths[i]) for i, t in enumerate(truths)], rng)
    return [a if a != i else b for i, (a, b) in enumerate(zip(close, loose, strict=True))]


def _exchanged(keys: Sequence[tuple[object, ...]], rng: np.random.Generator) -> list[int]:
    """For each place another one with its key, in a ring; itself where it is alone."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    chosen = [0] * len(keys)
    for rows in groups.values():
        order = [rows[i] for i in rng.permutation(len(rows))]
        for row, other in zip(order, [*order[1:], order[0]], strict=True):
            chosen[row] = other
    return chosen
