"""Partial, many-to-one matching of heads by similarity, and what becomes of their effects.

1. One to one: the assignment with the largest sum of similarities, where leaving a head unmatched
   costs as much as a link of that similarity (Kuhn 1955; scipy's `linear_sum_assignment`).
2. Joined: a head that is left over joins a link if it is like the head on the other side, and the
   effects of the two together, pair by pair, come closer to the other's than those of the first
   alone, or if it is all but a copy of it (effects of copies do not add up where the rest of the
   model saturates). Two teacher heads of one student head are *merged*, two student heads of one
   teacher head are a *split*.

Every head counts as one. Optimal transport between effect masses was not taken: masses differ just
where something has changed, so a weakened head would be cut to the mass that its partner has left.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

Relation = Literal["one", "merged", "split"]
Fate = Literal["preserved", "weakened", "lost", "merged", "unmatched"]
FATES: tuple[Fate, ...] = get_args(Fate)

LEAST_SIMILARITY = 0.4
"""What a link needs at least, however little alike the heads of the nulls are."""
JOIN_GAIN = 0.05
"""Share of a head's squared effects that a head must explain to join its link."""
COPY = 0.9
"""Similarity of what is all but a copy."""
LOST = 0.1
"""A matched head with less than this share of its effect left has lost it."""

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Matching:
    """Which heads belong together, by position.

    Attributes:
        pairs: (teacher, student) of each link.
    """

    pairs: tuple[Pair, ...]

    def relation(self, pair: Pair) -> Relation:
        """Whether other heads share the student's head, or the teacher's."""
        teacher, student = (Counter(each) for each in zip(*self.pairs, strict=True))
        if student[pair[1]] > 1:
            return "merged"
        return "split" if teacher[pair[0]] > 1 else "one"


def match_heads(
    similarity: Float[np.ndarray, "teacher student"],
    cost: float,
    effects: tuple[Float[np.ndarray, "teacher pair"], Float[np.ndarray, "student pair"]],
) -> Matching:
    """Links between heads that are more alike than `cost`.

    Args:
        similarity: Of each two heads; negative infinity where they cannot be compared.
        cost: Similarity that a link must exceed.
        effects: Of each head on each pair as shares of the range, for teacher and student.
    """
    gain = np.maximum(similarity - cost, 0)
    found = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
    links = [(int(t), int(s)) for t, s in found if gain[t, s] > 0]
    return Matching(tuple(sorted([*links, *_joined(links, similarity, cost, effects)])))


def fates(
    teacher: Float[np.ndarray, " teacher"],
    student: Float[np.ndarray, " student"],
    matching: Matching,
) -> dict[Fate, float]:
    """What became of the teacher's effects: sums of absolute means, which add up to their total.

    Args:
        teacher: [head] mean effects.
        student: [head] mean effects, in the same unit.
        matching: Of the heads.
    """
    sums: dict[Fate, float] = dict.fromkeys(FATES, 0.0)
    for head, effect in enumerate(teacher):
        mass = abs(float(effect))
        own = [pair for pair in matching.pairs if pair[0] == head]
        if not own:
            sums["unmatched"] += mass
        elif matching.relation(own[0]) == "merged":
            sums["merged"] += mass
        else:
            there = float(np.sign(effect)) * sum(float(student[s]) for _, s in own)
            kept = min(max(there, 0.0), mass)
            sums["preserved"] += kept
            sums["lost" if kept < LOST * mass else "weakened"] += mass - kept
    return sums


def _joined(
    links: Sequence[Pair],
    similarity: Float[np.ndarray, "teacher student"],
    cost: float,
    effects: tuple[np.ndarray, np.ndarray],
) -> list[Pair]:
    """Further links of heads that are left over, the most alike first."""
    partner_of = dict(links)
    teacher_of = {s: t for t, s in links}
    candidates: list[tuple[float, Pair, Pair]] = []
    for t, s in zip(*np.nonzero(similarity > cost), strict=True):
        pair = (int(t), int(s))
        if t not in partner_of and s in teacher_of:
            gain = _gain(effects[0][teacher_of[s]], effects[0][t], effects[1][s])
            link = (teacher_of[s], int(s))
        elif s not in teacher_of and t in partner_of:
            gain = _gain(effects[1][partner_of[t]], effects[1][s], effects[0][t])
            link = (int(t), partner_of[t])
        else:
            continue
        if gain > JOIN_GAIN or similarity[pair] > COPY:
            candidates.append((float(similarity[pair]), pair, link))
    joined: list[Pair] = []
    shared: dict[Pair, int] = {}
    taken: set[tuple[int, int]] = set()
    for _, pair, link in sorted(candidates, key=lambda found: -found[0]):
        side = 1 if link[1] == pair[1] else 0
        newcomer = (1 - side, pair[1 - side])
        if newcomer not in taken and shared.setdefault(link, side) == side:
            taken.add(newcomer)
            joined.append(pair)
    return joined


def _gain(
    first: Float[np.ndarray, " pair"],
    newcomer: Float[np.ndarray, " pair"],
    whole: Float[np.ndarray, " pair"],
) -> float:
    """By how much the newcomer brings the first closer to the whole, as a share of its square."""
    size = float((whole**2).sum())
    alone, together = ((whole - part) ** 2 for part in (first, first + newcomer))
    return float(alone.sum() - together.sum()) / size if size > 0 else 0.0
