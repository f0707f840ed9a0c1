"""`Alignment`: which heads of two models belong together, and on what grounds that is said."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from behavior.examples import Contrast
from circuits.compare.alignment.evidence import Kind
from circuits.compare.alignment.matching import Fate, Relation
from circuits.compare.alignment.null import AlignmentNull

Level = Literal["heads", "stages"]


@dataclass(frozen=True, slots=True)
class HeadLink:
    """A head of the teacher and the head of the student that it became.

    Attributes:
        teacher: Name of the teacher's head.
        student: Name of the student's head.
        relation: `one`, `merged` (the student's head has other teacher heads too) or `split`.
        similarity: Mean over the kinds of evidence, from -1 to 1.
        kinds: Similarity of each kind; None where a head shows nothing.
        mass: Mean effect of the teacher's head by contrast, as a share of the total range.
        student_mass: The same of the student's head.
    """

    teacher: str
    student: str
    relation: Relation
    similarity: float
    kinds: Mapping[Kind, float | None]
    mass: Mapping[Contrast, float]
    student_mass: Mapping[Contrast, float]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Heads of teacher and student, matched or declared not to be matchable.

    Attributes:
        level: `heads` if heads are matched; `stages` if only stages can be compared.
        reason: One sentence that says why.
        null: What the own pair was put to; None for models without attention.
        links: Matched heads; none at level `stages`.
        unmatched_teacher: Teacher heads without a partner.
        unmatched_student: Student heads without a partner.
        fates: By contrast, what became of the teacher's effect mass: `preserved`, `weakened`,
            `lost`, `merged`, `unmatched`; sums of absolute mean effects of heads, as shares of the
            teacher's total range, which add up to the total. Each model by its own range.
        totals: By contrast, the teacher's effect mass.
        teacher_heads: Names of the teacher's heads.
        student_heads: Names of the student's heads.
        similarity: [teacher, student] combined similarity.
        kinds: [teacher, student] similarity by kind of evidence; NaN where a head shows nothing.
        units: Ids of the quads that the alignment was fitted on.
        held_out: Ids of the quads that it has not seen.
        seed: Of the halves, the blocks and the untrained nets.
    """

    level: Level
    reason: str
    null: AlignmentNull | None
    links: tuple[HeadLink, ...]
    unmatched_teacher: tuple[str, ...]
    unmatched_student: tuple[str, ...]
    fates: Mapping[Contrast, Mapping[Fate, float]]
    totals: Mapping[Contrast, float]
    teacher_heads: tuple[str, ...]
    student_heads: tuple[str, ...]
    similarity: Float[np.ndarray, "teacher student"]
    kinds: Mapping[Kind, Float[np.ndarray, "teacher student"]]
    units: tuple[str, ...]
    held_out: tuple[str, ...]
    seed: int

    def to_json(self) -> dict[str, object]:
        """Everything but the tables of similarities."""
        return {
            "level": self.level,
            "reason": self.reason,
            "null": None if self.null is None else self.null.to_json(),
            "links": [asdict(link) for link in self.links],
            "unmatched": {
                "teacher": list(self.unmatched_teacher),
                "student": list(self.unmatched_student),
            },
            "fates": {contrast: dict(sums) for contrast, sums in self.fates.items()},
            "totals": dict(self.totals),
            "units": list(self.units),
            "held_out": list(self.held_out),
            "seed": self.seed,
        }

    def tables(self) -> dict[str, np.ndarray | None]:
        """`alignment.own` and its kinds, and what match, lead and nulls rest on, by stored name."""
        found: dict[str, np.ndarray | None] = {"alignment.own": self.similarity}
        found |= {f"alignment.kinds.{kind}": table for kind, table in self.kinds.items()}
        for name, tables in ({} if self.null is None else self.null.tables).items():
            stored = name.replace(" ", "_")
            found[f"alignment.{stored}"] = tables.whole
            found[f"alignment.parts.{stored}"] = tables.parts
        return found

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each link, then one for each head without a partner."""
        rows: list[dict[str, Any]] = [
            {
                "teacher": link.teacher,
                "student": link.student,
                "relation": link.relation,
                "similarity": link.similarity,
                **link.kinds,
                **{f"mass_{contrast}": mass for contrast, mass in link.mass.items()},
                **{f"student_{contrast}": mass for contrast, mass in link.student_mass.items()},
            }
            for link in self.links
        ]
        rows += [{"teacher": head, "relation": "unmatched"} for head in self.unmatched_teacher]
        rows += [{"student": head, "relation": "unmatched"} for head in self.unmatched_student]
        return pd.DataFrame(rows, columns=None if rows else ["teacher", "student", "relation"])
