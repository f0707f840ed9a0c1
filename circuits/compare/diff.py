"""What changed between matched nodes of teacher and student, and how sure that is.

Only where heads can be matched (`alignment`). Effects are shares of each model's own total range R,
on the quads that test:

    difference = mean effect in the student / R of the student - the same of the teacher

Each unit's share in it is linearised (delta method), so that numerator and range vary together, and
the mean of these has a bootstrap-t interval within templates. With delta the smallest difference
that matters:

    preserved      within +-delta (two one-sided tests at .05)
    weakened       less than the teacher's beyond delta, q < .05
    lost           weakened, and the student's own effect lies within +-delta of zero
    gained         more than the teacher's beyond delta, q < .05; so is every change of a node whose
                   effect in the teacher is itself smaller than delta, where a sign is chance
    merged, split  preserved, with several nodes of the teacher, or of the student
    undetermined   none of these can be shown
    unalignable    a node without a counterpart

q controls the false-discovery rate over all tests that are made (Benjamini and Hochberg 1995).
*Stability* is the share of resamples in which the difference is beyond delta on the same side (of
preserved nodes: within it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast
from behavior.resampling import Resamples, replicate_means, resample_units
from behavior.statistics import (
    benjamini_hochberg,
    beyond_test,
    equivalence_test,
    estimate_means,
)
from circuits.compare.changes import Category, NodeChange, NodeGroup
from patching import Effects

LEVEL = 0.05
DELTA = 0.02


@dataclass(frozen=True, eq=False)
class ModelEffects:
    """Effects of one model, and what they are shares of.

    Attributes:
        effects: Of heads and MLPs, per pair, by contrast, in logits.
        ranges: Margin of A minus that of L, by unit, in logits.
    """

    effects: Mapping[Contrast, Effects]
    ranges: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Unitwise:
    """By unit: effects of each group, and the range."""

    effects: Float[np.ndarray, "unit group"]
    ranges: Float[np.ndarray, " unit"]

    def shares(self) -> Float[np.ndarray, "unit group"]:
        """Values whose mean is the share, and which vary as it does."""
        size = self.ranges.mean()
        share = self.effects.mean(0) / size
        return share + (self.effects - share * self.ranges[:, None]) / size


def diff_nodes(
    teacher: ModelEffects,
    student: ModelEffects,
    groups: Sequence[NodeGroup],
    units: Sequence[str],
    templates: Mapping[str, str],
    *,
    delta: float = DELTA,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[NodeChange]:
    """Every group of nodes, under every contrast that both models have.

    Args:
        teacher: Effects of the teacher.
        student: Effects of the student, on the same pairs.
        groups: Which nodes belong together; fitted on other units than these.
        units: That test.
        templates: Of all units.
        delta: Smallest difference that matters, as a share of the total range.
        n_resamples: Bootstrap resamples.
        seed: Of them.

    Raises:
        DataError: If the two were not measured on these units.
    """
    names = sorted(set(units))
    drawn = resample_units(names, [templates[name] for name in names], n_resamples, seed)
    found: list[NodeChange] = []
    for contrast in CONTRASTS:
        if contrast in teacher.effects and contrast in student.effects:
            sides = [
                _unitwise(side, contrast, [getattr(g, role) for g in groups], names)
                for side, role in ((teacher, "teacher"), (student, "student"))
            ]
            found += _judge(groups, contrast, sides[0], sides[1], drawn, delta)
    return _control(found)


def _unitwise(
    side: ModelEffects, contrast: Contrast, groups: Sequence[tuple[str, ...]], names: Sequence[str]
) -> _Unitwise:
    effects = side.effects[contrast]
    missing = set(names) - set(effects.units) or set(names) - set(side.ranges)
    if missing:
        raise DataError(f"Unit {min(missing)!r} was not measured on both models.")
    place = {name: i for i, name in enumerate(names)}
    values = effects.values.double().numpy()
    chosen = np.stack(
        [values[:, [effects.nodes.index(node) for node in group]].sum(1) for group in groups],
        axis=1,
    )
    totals, counts = np.zeros((len(names), len(groups))), np.zeros(len(names))
    for row, unit in enumerate(effects.units):
        if unit in place:
            totals[place[unit]] += chosen[row]
            counts[place[unit]] += 1
    return _Unitwise(totals / counts[:, None], np.array([side.ranges[name] for name in names]))


def _judge(
    groups: Sequence[NodeGroup],
    contrast: Contrast,
    before: _Unitwise,
    after: _Unitwise,
    drawn: Resamples,
    delta: float,
) -> list[NodeChange]:
    shares = [before.shares(), after.shares()]
    difference = shares[1] - shares[0]
    estimates = [estimate_means(each, drawn) for each in (*shares, difference)]
    beyond, equal = (
        beyond_test(difference, delta, drawn),
        equivalence_test(difference, delta, drawn),
    )
    silent = equivalence_test(shares[1], delta, drawn)
    ones = np.ones_like(difference)
    replicates = replicate_means(drawn.totals(difference), drawn.totals(ones), drawn)[1:]
    found: list[NodeChange] = []
    for i, group in enumerate(groups):
        category = _direction(difference[:, i].mean(), shares[0][:, i].mean(), delta)
        if equal[i] < LEVEL:
            category = _kept(group)
        elif category == "weakened" and silent[i] < LEVEL:
            category = "lost"
        if not (group.teacher and group.student):
            category = "unalignable"
        found.append(
            NodeChange(
                group,
                contrast,
                category,
                *(each[i] for each in estimates),
                p=float(np.nan_to_num(beyond[i], nan=1.0)),
                q=1.0,
                stability=_stability(replicates[:, i], difference[:, i].mean(), category, delta),
            )
        )
    return found


def _direction(difference: float, before: float, delta: float) -> Category:
    """If the difference is beyond delta, what it is called."""
    return "gained" if abs(before) < delta or difference * before > 0 else "weakened"


def _kept(group: NodeGroup) -> Category:
    if len(group.teacher) > 1:
        return "merged"
    return "split" if len(group.student) > 1 else "preserved"


def _stability(
    replicates: Float[np.ndarray, " resample"], mean: float, category: Category, delta: float
) -> float | None:
    if category == "unalignable":
        return None
    if category in ("preserved", "merged", "split"):
        return float((np.abs(replicates) < delta).mean())
    return float((replicates * np.sign(mean) > delta).mean())


def _control(found: Sequence[NodeChange]) -> list[NodeChange]:
    """Q over all tests of matched groups; what does not survive is undetermined."""
    tested = [i for i, change in enumerate(found) if change.category != "unalignable"]
    if not tested:
        return list(found)
    q = dict(zip(tested, benjamini_hochberg(np.array([found[i].p for i in tested])), strict=True))
    controlled: list[NodeChange] = []
    for i, change in enumerate(found):
        new = replace(change, q=float(q.get(i, 1.0)))
        if new.is_change and new.q >= LEVEL:
            new = replace(new, category="undetermined")
        controlled.append(new)
    return controlled
