"""Removal: is there a set of heads in the student without which it answers like its teacher?

1. Sets of heads are ablated together (`head_sets`) on the quads that choose: all sets where there
   are at most `MOST_SETS`; otherwise greedily, at each step the head that helps most, among the
   `CANDIDATES` best ones, up to `MOST_HEADS`. The set with the largest mean probability of the
   truth over the four cells is taken; the empty set is among them.
2. On the quads that test: what it restores and what it costs (`restoring`).
3. Controls: random sets with as many heads in each row, or, where there are few such, with as many
   heads. The set counts as *removable* if it restores at least half of the loss by the lower end
   of its interval, and more than all but a tenth of the controls. "There is no such set" is a
   finding: the fault is not carried by heads that could be taken away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Float

from behavior.answers import QuadAnswers
from behavior.estimates import Estimate
from circuits.compare.causal.head_sets import HeadSet, HeadSets, Progress
from circuits.compare.causal.restoring import (
    Restored,
    rank_among,
    restored_value,
    share_restored,
    truth_probabilities,
)
from patching.models.nodes import Node

MOST_SETS = 255
MOST_HEADS = 4
CANDIDATES = 16
N_CONTROLS = 20
RESTORES = 0.5
P_VALUE = 0.1
_TRIES = 10
NOTHING_HELPS = "no set of heads does better than the whole model on the quads that choose"


@dataclass(frozen=True, slots=True)
class Removal:
    """The best set of heads to take away, tested.

    Attributes:
        heads: Chosen; empty if nothing helps.
        searched: How many sets were tried, and how.
        found: What it does on the quads that test.
        controls: [control] share restored by random sets of the same shape.
        p: Share of controls and it that restore as much.
        removable: Whether it counts.
        margins: [set, quad, cell] label minus foil on the quads that test, in logits, under the
            chosen set (first) and each control; None if nothing was chosen.
    """

    heads: HeadSet
    searched: str
    found: Restored
    controls: tuple[float, ...]
    p: float | None
    removable: bool
    margins: Float[np.ndarray, "set quad cell"] | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {
            "heads": list(self.heads),
            "searched": self.searched,
            **self.found.to_json(),
            "controls": list(self.controls),
            "p": self.p,
            "removable": self.removable,
        }


def measure_removal(
    choosing: HeadSets,
    testing: HeadSets,
    teacher: QuadAnswers,
    *,
    among: Sequence[str] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Removal:
    """Choose a set of heads on some quads and test it on others.

    Args:
        choosing: The student on the quads that choose.
        testing: The student on those that test.
        teacher: The teacher's answers to those that test.
        among: Heads to search, if not all.
        n_resamples: Bootstrap resamples.
        seed: Of them and of the controls.
        progress: Of the search.
    """
    heads = choosing.model.spec.heads
    searchable = [name for name in heads if among is None or name in among]
    chosen, searched = _choose(choosing, searchable, progress)
    if not chosen:
        nothing = Estimate.null(NOTHING_HELPS, len(testing.quads))
        return Removal((), searched, Restored(nothing, nothing, nothing), (), None, False)
    others = matched_sets(heads, chosen, N_CONTROLS, seed)
    student, changed, *controls = testing.answers([(), chosen, *others])
    found = share_restored(teacher, student, changed, n_resamples, seed)
    shares = tuple(restored_value(teacher, student, other) for other in controls)
    own = restored_value(teacher, student, changed)
    low = found.restored.low
    p = rank_among(own, shares)
    removable = low is not None and low >= RESTORES and p <= P_VALUE
    margins = np.stack([answers.margins for answers in (changed, *controls)])
    return Removal(chosen, searched, found, shares, p, removable, margins)


def matched_sets(heads: Sequence[str], chosen: HeadSet, n: int, seed: int) -> list[HeadSet]:
    """Random other sets with as many heads in each row, then with as many heads; at most n.

    Args:
        heads: All heads of the model.
        chosen: The set to match.
        n: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    by_row: dict[str, list[str]] = {}
    for name in heads:
        by_row.setdefault(Node.parse(name).row, []).append(name)
    found: dict[HeadSet, None] = {}
    for groups in (list(by_row.values()), [list(heads)]):
        for _ in range(_TRIES * n):
            drawn = {
                str(name)
                for names in groups
                for name in rng.choice(names, len(set(names) & set(chosen)), replace=False)
            }
            one = tuple(name for name in heads if name in drawn)
            if one != tuple(chosen) and len(found) < n:
                found[one] = None
    return list(found)


def _choose(sets: HeadSets, heads: Sequence[str], progress: Progress | None) -> tuple[HeadSet, str]:
    if 2 ** len(heads) - 1 <= MOST_SETS:
        every = [one for k in range(len(heads) + 1) for one in combinations(heads, k)]
        scores = _scores(sets, every, progress)
        return every[int(np.argmax(scores))], f"all {len(every) - 1} sets"
    return _greedy(sets, heads, progress)


def _greedy(sets: HeadSets, heads: Sequence[str], progress: Progress | None) -> tuple[HeadSet, str]:
    best: HeadSet = ()
    (score,) = _scores(sets, [best], None)
    candidates, tried = list(heads), 0
    for _ in range(MOST_HEADS):
        grown = [_with(heads, best, name) for name in candidates if name not in best]
        scores = _scores(sets, grown, progress)
        tried += len(grown)
        top = int(np.argmax(scores))
        if scores[top] <= score:
            break
        order = np.argsort(-np.array(scores), kind="stable")[:CANDIDATES]
        candidates = [name for i in order for name in grown[i] if name not in best]
        best, score = grown[top], scores[top]
    return best, f"{tried} sets of up to {MOST_HEADS} heads, greedily"


def _with(heads: Sequence[str], chosen: HeadSet, name: str) -> HeadSet:
    return tuple(one for one in heads if one in chosen or one == name)


def _scores(sets: HeadSets, tried: Sequence[HeadSet], progress: Progress | None) -> list[float]:
    return [float(truth_probabilities(answers).mean()) for answers in sets.answers(tried, progress)]
