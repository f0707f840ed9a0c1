"""What became of nodes that belong together: groups, changes, and the table of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.alignment.result import Alignment
from circuits.compare.causal.origin import Origin

Category = Literal[
    "preserved", "weakened", "lost", "gained", "merged", "split", "undetermined", "unalignable"
]


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that belong together; one side may be empty.

    Attributes:
        teacher: Nodes of the teacher, usually one.
        student: Nodes of the student, usually one.
    """

    teacher: tuple[str, ...]
    student: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What became of one group of nodes under one contrast.

    Attributes:
        group: The nodes.
        contrast: Core or shortcut.
        category: See `circuits.compare.diff`.
        before: Effect in the teacher, share of its total range; null without such a range.
        after: The same of the student.
        difference: After minus before.
        p: Of a difference within +-delta; 1 where nothing was tested.
        q: The same after Benjamini-Hochberg.
        stability: Share of resamples that say the same.
        origin: Whether the student's node itself answers differently; None where that cannot be
            asked.
        delta: Difference that had to be exceeded; larger than the usual where seed twins differ.
    """

    group: NodeGroup
    contrast: Contrast
    category: Category
    before: Estimate
    after: Estimate
    difference: Estimate
    p: float
    q: float
    stability: float | None
    origin: Origin | None = None
    delta: float = 0.02

    @property
    def is_change(self) -> bool:
        """Whether a difference was declared."""
        return self.category in ("weakened", "lost", "gained")

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {
            "teacher": list(self.group.teacher),
            "student": list(self.group.student),
            "contrast": self.contrast,
            "category": self.category,
            "origin": self.origin,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "difference": self.difference.to_json(),
            "p": self.p,
            "q": self.q,
            "stability": self.stability,
            "delta": self.delta,
        }


def origins_added(changes: Sequence[NodeChange], origins: Mapping[str, Origin]) -> list[NodeChange]:
    """The same with the origin of each change of a single node of the student, where known."""
    return [
        replace(change, origin=origins.get(change.group.student[0]))
        if change.is_change and len(change.group.student) == 1
        else change
        for change in changes
    ]


def change_table(changes: Sequence[NodeChange]) -> pd.DataFrame:
    """One row for each group and contrast."""
    return pd.DataFrame(
        {
            "teacher": ["+".join(c.group.teacher) for c in changes],
            "student": ["+".join(c.group.student) for c in changes],
            "contrast": [c.contrast for c in changes],
            "category": [c.category for c in changes],
            "origin": [c.origin for c in changes],
            "before": [c.before.value for c in changes],
            "after": [c.after.value for c in changes],
            "difference": [c.difference.value for c in changes],
            "low": [c.difference.low for c in changes],
            "high": [c.difference.high for c in changes],
            "q": [c.q for c in changes],
            "stability": [c.stability for c in changes],
        }
    )


def node_groups(alignment: Alignment) -> list[NodeGroup]:
    """Heads that belong together, each with all its partners; heads without one alone."""
    if alignment.level != "heads":
        return []
    merged: dict[str, list[str]] = {}
    split: dict[str, list[str]] = {}
    for link in alignment.links:
        merged.setdefault(link.student, []).append(link.teacher)
        split.setdefault(link.teacher, []).append(link.student)
    groups = [NodeGroup(tuple(t), (s,)) for s, t in merged.items() if len(split[t[0]]) == 1]
    groups += [NodeGroup((t,), tuple(s)) for t, s in split.items() if len(s) > 1]
    groups += [NodeGroup((head,), ()) for head in alignment.unmatched_teacher]
    return groups + [NodeGroup((), (head,)) for head in alignment.unmatched_student]
