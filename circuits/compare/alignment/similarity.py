"""How similar the heads of two models are, on all quads or on some blocks of them.

All similarities are cosines, so that sums of products over blocks of quads, taken once, give them
for any set of blocks: for the two parts between which matches are crossed, and for the jackknife.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from circuits.compare.alignment.evidence import KINDS, Evidence, Features, Kind, StackEvidence
from circuits.compare.alignment.inputs import N_BLOCKS

_NOTHING = 1e-10
"""Share of the largest squared size in the model below which a head shows nothing."""

Blocks = Bool[np.ndarray, f"{N_BLOCKS}"]
ALL_BLOCKS: Blocks = np.ones(N_BLOCKS, dtype=bool)


@dataclass(frozen=True, eq=False)
class _Products:
    """Sums over the entries of each two blocks.

    Attributes:
        cross: [block, block, teacher head, student head] sums of products.
        teacher: [block, block, head] sums of squares.
        student: [block, block, head] sums of squares.
    """

    cross: Float[np.ndarray, "block block teacher student"]
    teacher: Float[np.ndarray, "block block teacher"]
    student: Float[np.ndarray, "block block student"]

    def cosines(self, blocks: Blocks) -> Float[np.ndarray, "teacher student"]:
        """Cosines on some blocks; NaN where a head shows nothing."""
        cross, ours, theirs = (
            sums[blocks][:, blocks].sum(axis=(0, 1))
            for sums in (self.cross, self.teacher, self.student)
        )
        ours, theirs = (
            np.where(size > _NOTHING * size.max(initial=0), size, np.nan) for size in (ours, theirs)
        )
        return cross / np.sqrt(ours[:, None] * theirs)


class HeadSimilarity:
    """Similarity of each teacher head to each student head.

    Attributes:
        teacher: Names of the teacher's heads.
        student: Names of the student's heads.
        comparable: [teacher, student] whether two heads are of one kind of row.
    """

    def __init__(self, teacher: Evidence, student: Evidence) -> None:
        self.teacher, self.student = _heads(teacher), _heads(student)
        self.comparable: Bool[np.ndarray, "teacher student"] = np.zeros(
            (len(self.teacher), len(self.student)), dtype=bool
        )
        self._parts: list[tuple[np.ndarray, np.ndarray, dict[Kind, list[_Products]]]] = []
        for stack, ours in teacher.items():
            theirs = student.get(stack)
            if theirs is None:
                continue
            rows = np.array([self.teacher.index(head) for head in ours.heads])
            columns = np.array([self.student.index(head) for head in theirs.heads])
            self.comparable[np.ix_(rows, columns)] = True
            self._parts.append((rows, columns, _stack_products(ours, theirs)))

    def by_kind(
        self, blocks: Blocks = ALL_BLOCKS
    ) -> Mapping[Kind, Float[np.ndarray, "teacher student"]]:
        """Similarity of each kind, from -1 to 1; NaN where a head shows nothing."""
        found: dict[Kind, np.ndarray] = {
            kind: np.full(self.comparable.shape, np.nan) for kind in KINDS
        }
        for rows, columns, products in self._parts:
            for kind, parts in products.items():
                found[kind][np.ix_(rows, columns)] = _mean([one.cosines(blocks) for one in parts])
        return found

    def combined(self, blocks: Blocks = ALL_BLOCKS) -> Float[np.ndarray, "teacher student"]:
        """Mean over the kinds, from -1 to 1; 0 where there is nothing to compare.

        A head that changes nothing and writes nothing is like no other, wherever it attends.
        """
        kinds = self.by_kind(blocks)
        silent = np.isnan(kinds["effects"]) & np.isnan(kinds["outputs"])
        return np.where(silent, 0.0, np.nan_to_num(_mean(list(kinds.values()))))


def _heads(evidence: Evidence) -> tuple[str, ...]:
    return tuple(head for stack in evidence.values() for head in stack.heads)


def _stack_products(teacher: StackEvidence, student: StackEvidence) -> dict[Kind, list[_Products]]:
    return {
        kind: [
            _products(ours, theirs)
            for ours, theirs in zip(teacher.features[kind], student.features[kind], strict=True)
        ]
        for kind in KINDS
    }


def _products(teacher: Features, student: Features) -> _Products:
    n_teacher, n_student = teacher.values.shape[1], student.values.shape[1]
    cross = np.zeros((N_BLOCKS, N_BLOCKS, n_teacher, n_student))
    ours = np.zeros((N_BLOCKS, N_BLOCKS, n_teacher))
    theirs = np.zeros((N_BLOCKS, N_BLOCKS, n_student))
    keys = teacher.blocks @ [N_BLOCKS, 1]
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], np.unique(keys))
    for members in np.split(order, starts[1:]):
        if not len(members):
            continue
        x, y = teacher.values[members], student.values[members]
        at = tuple(teacher.blocks[members[0]])
        cross[at] = x.T @ y
        ours[at] = (x.astype(np.float64) ** 2).sum(axis=0)
        theirs[at] = (y.astype(np.float64) ** 2).sum(axis=0)
    return _Products(cross, ours, theirs)


def _mean(tables: Sequence[Float[np.ndarray, "*shape"]]) -> Float[np.ndarray, "*shape"]:
    """Mean of what is no NaN; NaN where there is nothing."""
    stacked = np.stack(tables)
    known = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        return np.where(known, stacked, 0).sum(axis=0) / known.sum(axis=0)
