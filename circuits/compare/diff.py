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
    undetermined   none of these can be shown; so is everything if the total range of a model
                   cannot be told from zero, because there is nothing to take shares of
    unalignable    a node without a counterpart

Where models have seed twins, delta of a node is at least the largest difference that its share
shows between two seeds, of the teacher or of the student; "preserved" is not made easier by it.

q controls the false-discovery rate over all tests that are made (Benjamini and Hochberg 1995).
*Stability* is the share of resamples in which the difference is beyond delta on the same side (of
preserved nodes: within it).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import CONTRASTS, Contrast
from behavior.resampling import Resamples, replicate_means, resample_units
from behavior.statistics import (
    benjamini_hochberg,
    beyond_test,
    equivalence_test,
    estimate_means,
)
from circuits.compare.changes import Category, NodeChange, NodeGroup
from circuits.compare.relative import total_range
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

    def missing(self, drawn: Resamples) -> str:
        """Why there are no shares: the range has no interval, or it reaches zero."""
        return total_range(self.ranges, drawn).reason or ""

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
    twins: tuple[Sequence[ModelEffects], Sequence[ModelEffects]] = ((), ()),
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
        twins: Effects of twins of the teacher and of the student, whose nodes are those of their
            model by name.
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
            seeds = [
                [
                    _unitwise(twin, contrast, [getattr(g, role) for g in groups], names)
                    for twin in of
                ]
                for of, role in zip(twins, ("teacher", "student"), strict=True)
            ]
            spread = np.max([_spread(sides[i], seeds[i], drawn) for i in (0, 1)], axis=0)
            margins = np.maximum(spread, delta)
            found += _judge(groups, contrast, sides[0], sides[1], drawn, delta, margins)
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


def _spread(
    own: _Unitwise, twins: Sequence[_Unitwise], drawn: Resamples
) -> Float[np.ndarray, " group"]:
    """Largest difference of the shares between two seeds; of those that have a range."""
    ranged = [each for each in (own, *twins) if not each.missing(drawn)]
    if len(ranged) < 2:
        return np.zeros(own.effects.shape[1])
    return np.ptp([each.shares().mean(0) for each in ranged], axis=0)


def _judge(
    groups: Sequence[NodeGroup],
    contrast: Contrast,
    before: _Unitwise,
    after: _Unitwise,
    drawn: Resamples,
    delta: float,
    margins: Float[np.ndarray, " group"],
) -> list[NodeChange]:
    missing = {"teacher": before.missing(drawn), "student": after.missing(drawn)}
    if any(missing.values()):
        return _without_range(groups, contrast, (before, after), missing, drawn, margins)
    shares = [before.shares(), after.shares()]
    difference = shares[1] - shares[0]
    estimates = [estimate_means(each, drawn) for each in (*shares, difference)]
    beyond, equal = (
        _beyond(difference, margins, drawn),
        equivalence_test(difference, delta, drawn),
    )
    silent = equivalence_test(shares[1], delta, drawn)
    ones = np.ones_like(difference)
    replicates = replicate_means(drawn.totals(difference), drawn.totals(ones), drawn)[1:]
    found: list[NodeChange] = []
    for i, group in enumerate(groups):
        mean, margin = float(difference[:, i].mean()), float(margins[i])
        category = _direction(mean, shares[0][:, i].mean(), delta)
        if equal[i] < LEVEL:
            category = _kept(group)
        elif category == "weakened" and silent[i] < LEVEL:
            category = "lost"
        if not (group.teacher and group.student):
            category = "unalignable"
        kept = category in ("preserved", "merged", "split")
        found.append(
            NodeChange(
                group,
                contrast,
                category,
                *(each[i] for each in estimates),
                p=float(np.nan_to_num(beyond[i], nan=1.0)),
                q=1.0,
                stability=_stability(replicates[:, i], mean, category, delta if kept else margin),
                delta=margin,
            )
        )
    return found


def _beyond(
    difference: Float[np.ndarray, "unit group"],
    margins: Float[np.ndarray, " group"],
    drawn: Resamples,
) -> Float[np.ndarray, " group"]:
    """P values of differences beyond each group's own margin."""
    p = np.ones(len(margins))
    for margin in np.unique(margins):
        same = margins == margin
        p[same] = beyond_test(difference[:, same], float(margin), drawn)
    return p


def _without_range(
    groups: Sequence[NodeGroup],
    contrast: Contrast,
    sides: tuple[_Unitwise, _Unitwise],
    missing: Mapping[str, str],
    drawn: Resamples,
    margins: Float[np.ndarray, " group"],
) -> list[NodeChange]:
    """Every group as undetermined, with the shares of the model that has a range."""
    n = len(sides[0].ranges)
    shares = [
        [Estimate.null(reason, n)] * len(groups) if reason else estimate_means(side.shares(), drawn)
        for side, reason in zip(sides, missing.values(), strict=True)
    ]
    role = next(role for role, reason in missing.items() if reason)
    none = Estimate.null(f"{role}: {missing[role]}", n)
    return [
        NodeChange(
            group,
            contrast,
            "undetermined" if group.teacher and group.student else "unalignable",
            before,
            after,
            none,
            p=1.0,
            q=1.0,
            stability=None,
            delta=float(margin),
        )
        for group, before, after, margin in zip(groups, *shares, margins, strict=True)
    ]


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
    tested = [
        i
        for i, change in enumerate(found)
        if change.category != "unalignable" and change.difference.value is not None
    ]
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
