"""Folds for cross-validation: no quad, and no template, is ever on both sides."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from behavior.errors import DataError

N_FOLDS = 5


def assign_folds(
    units: Sequence[str], templates: Sequence[str], n_folds: int = N_FOLDS, seed: int = 0
) -> Int[np.ndarray, " row"]:
    """The fold in which each row is held out.

    Whole templates are held out where there are at least two, else single units. Groups go by
    size to the fold that holds fewest units, in an order drawn by the seed from the sorted names:
    neither the order of the rows nor their repetition matters. There are fewer folds than
    `n_folds` where there are fewer groups.

    Args:
        units: [row] id of the quad that each row belongs to.
        templates: [row] its template; empty strings if there are none.
        n_folds: At least two.
        seed: Of the order.

    Raises:
        DataError: If there are fewer than two groups, or fewer than two folds.
    """
    if n_folds < 2:
        raise DataError(f"{n_folds} folds were asked for. Cross-validation needs at least two.")
    grouped = len(set(templates)) > 1
    group_of = dict(zip(units, templates if grouped else units, strict=True))
    sizes: dict[str, int] = {}
    for group in group_of.values():
        sizes[group] = sizes.get(group, 0) + 1
    if len(sizes) < 2:
        raise DataError(f"{len(sizes)} quads were given. Cross-validation needs at least two.")
    fold_of = _fill(sizes, min(n_folds, len(sizes)), seed)
    return np.array([fold_of[group_of[unit]] for unit in units], dtype=np.int64)


def smallest_training(units: Sequence[str], folds: Int[np.ndarray, " row"]) -> int:
    """Distinct units that the smallest training part holds."""
    fold_of = dict(zip(units, folds.tolist(), strict=True))
    held_out = np.bincount(list(fold_of.values()))
    return len(fold_of) - int(held_out.max())


def _fill(sizes: Mapping[str, int], n_folds: int, seed: int) -> dict[str, int]:
    names = sorted(sizes)
    drawn = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    counts = [0] * n_folds
    fold_of: dict[str, int] = {}
    for name in sorted(drawn, key=lambda each: -sizes[each]):
        fold = counts.index(min(counts))
        fold_of[name] = fold
        counts[fold] += sizes[name]
    return fold_of
