"""Ranks students of one teacher by what they lost on C and N together.

Ranks alone say nothing about chance. Beside each rank stands what a student lost beyond the best
one, on the same quads, with the paired interval: where it reaches zero, the two cannot be told
apart by these quads. All of it is about checkpoints, not about the recipes that made them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

from behavior.answers import QuadAnswers
from behavior.erosion import measure_losses
from behavior.estimates import Estimate
from behavior.examples import CELLS, Cell
from behavior.readout import Collapse, read_labels
from behavior.resampling import resample_units
from circuits.compare.comparison import Comparison
from circuits.compare.figures.students import students_figure
from circuits.compare.reading import branch, cells, estimate, text
from circuits.compare.storage import Json

Result = Mapping[str, object]

MEASURES: dict[str, tuple[str, ...]] = {
    "loss": ("losses", "mean"),
    "loss_N": ("losses", "N"),
    "loss_C": ("losses", "C"),
    "spurious_share": ("models", "student", "behavior", "spurious_share"),
    "auc4_change": ("erosion", "auc4"),
    "retention": ("retention",),
    "conflicting_accuracy": ("models", "student", "behavior", "conflicting_accuracy"),
    "id_accuracy": ("models", "student", "behavior", "id_accuracy"),
}
"""What stands in the overview of each student, and where it stands in its result."""

OTHER_QUADS = "the students were not asked the same quads"
IS_BEST = "this is the best student"
_TEACHER = "teacher", "checkpoint"


@dataclass(frozen=True, slots=True)
class Contestant:
    """One student's comparison, as far as the overview needs it.

    Attributes:
        folder: Of its page, below the folder of the overview.
        result: Of its comparison.
        answers: On the quads; None if there are none.
        behind: What it lost on C and N beyond the best student.
    """

    folder: str
    result: Result
    answers: QuadAnswers | None
    behind: Estimate

    @property
    def name(self) -> str:
        """Of its checkpoint."""
        return text(self.result, "models", "student", "checkpoint")

    @property
    def digest(self) -> str:
        """Of its weights."""
        return text(self.result, "models", "student", "digest")

    def measure(self, name: str) -> Estimate:
        """One of `MEASURES`."""
        return estimate(self.result, *MEASURES[name])

    def to_json(self, rank: int | None) -> Json:
        """As the overview stores it."""
        verdict = branch(self.result, "verdict")
        return {
            "rank": rank,
            "student": self.name,
            "folder": self.folder,
            "digest": self.digest,
            "status": verdict.get("status"),
            "location": verdict.get("location"),
            "stage": verdict.get("stage"),
            "sentence": cast("list[str]", verdict.get("sentences") or [""])[0],
            **{name: self.measure(name).to_json() for name in MEASURES},
            "behind_best": self.behind.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """All students, the one that lost least first; those without a loss come last.

    Attributes:
        students: In their order.
    """

    students: tuple[Contestant, ...]

    @property
    def same_quads(self) -> bool:
        """Whether all students were asked the same quads."""
        return len({str(branch(each.result, "task").get("quads")) for each in self.students}) == 1

    def rank(self, place: int) -> int | None:
        """Of the student at a place, from 1; None if it has no loss."""
        return None if self.students[place].measure("loss").value is None else place + 1

    def rows(self) -> list[Json]:
        """Each student as it is stored."""
        return [each.to_json(self.rank(place)) for place, each in enumerate(self.students)]

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each student; each number with the ends of its interval and its n."""
        return pd.DataFrame([flat_row(row) for row in self.rows()])

    def figure(self) -> go.Figure:
        """What each student lost on N, on C and on both, with intervals."""
        kinds = {"N": "loss_N", "C": "loss_C", "mean": "loss"}
        losses = {
            each.folder: {kind: each.measure(name) for kind, name in kinds.items()}
            for each in self.students
        }
        return students_figure(losses, text(self.students[0].result, "models", *_TEACHER))


def rank_students(comparisons: Mapping[str, Comparison]) -> Overview:
    """Comparisons of several students with one teacher, by name, ranked by mean loss."""
    return ranked([contestant(name, each) for name, each in comparisons.items()])


def flat_row(row: Mapping[str, object]) -> Json:
    """A row of `Overview.rows` with a column for each end of an interval."""
    flat: Json = {}
    for name, value in row.items():
        if name in MEASURES or name == "behind_best":
            found = branch(row, name)
            flat[name] = found.get("value")
            flat |= {f"{name}_{part}": found.get(part) for part in ("low", "high", "n")}
        elif name != "sentence":
            flat[name] = value
    return flat


def contestant(folder: str, comparison: Comparison) -> Contestant:
    """What the overview needs of a comparison."""
    unknown = Estimate.null("not ranked")
    return Contestant(folder, comparison.result, student_answers(comparison), unknown)


def ranked(contestants: Sequence[Contestant]) -> Overview:
    """By mean loss, the smallest first; equal losses keep their order."""
    order = sorted(contestants, key=_loss)
    best = order[0]
    return Overview(tuple(replace(each, behind=_behind(best, each)) for each in order))


def student_answers(comparison: Comparison) -> QuadAnswers | None:
    """The student's answers on the quads, from the stored arrays; None if there are no quads."""
    result, task = comparison.result, branch(comparison.result, "task")
    if not cells(result):
        return None
    student = branch(result, "models", "student")
    labels = cast("list[str]", task["labels"])
    classes = cast("list[str]", branch(student, "spec")["classes"])
    readout = read_labels(classes, labels, cast(Collapse, branch(student, "readout")["collapse"]))
    order: Sequence[Cell] = CELLS
    stored = {cell: np.array(comparison.arrays[f"student.logits.{cell}"]) for cell in order}
    return QuadAnswers(
        logits={cell: readout.task_logits(torch.from_numpy(stored[cell])) for cell in order},
        label=readout.index(cast("list[str]", task["label"])),
        foil=readout.index(cast("list[str]", task["foil"])),
        units=tuple(cast("list[str]", task["quads"])),
        templates=tuple(cast("list[str]", task["templates"])),
    )


def _loss(each: Contestant) -> float:
    value = each.measure("loss").value
    return math.inf if value is None else value


def _behind(best: Contestant, other: Contestant) -> Estimate:
    if other is best:
        return Estimate.null(IS_BEST)
    if best.answers is None or other.answers is None:
        return Estimate.null("the data hold no quads")
    if best.answers.units != other.answers.units:
        return Estimate.null(OTHER_QUADS)
    config = branch(other.result, "config")
    drawn = resample_units(
        best.answers.units,
        best.answers.templates,
        cast(int, config["n_resamples"]),
        cast(int, config["seed"]),
    )
    return measure_losses(best.answers, other.answers, drawn)["mean"]
