"""Accuracy by template: whether the loss is spread over all kinds of quads, or sits in a few.

Only where the quads come from two templates or more. Intervals are over the quads of a template,
so those of small templates are wide; nothing is corrected for the number of templates.
"""

from collections.abc import Mapping

from behavior.answers import QuadAnswers
from behavior.erosion import measure_losses
from behavior.examples import CELLS
from behavior.intervals import estimate_proportion
from behavior.resampling import Resamples, resample_units
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.storage import Json


def template_rows(answers: Mapping[Role, RoleAnswers], config: ComparisonConfig) -> list[Json]:
    """An entry for each template: accuracy of teacher and student in each cell, and the losses.

    Losses are teacher minus student, in probability of the truth, as `losses` of the result.
    """
    teacher, student = (answers[role].quads for role in PAIR)
    if teacher is None or student is None:
        return []
    names = sorted(set(teacher.templates))
    if len(names) < 2:
        return []
    return [_row(name, teacher, student, config) for name in names]


def _row(
    template: str, teacher: QuadAnswers, student: QuadAnswers, config: ComparisonConfig
) -> Json:
    units = tuple(
        unit for unit, own in zip(teacher.units, teacher.templates, strict=True) if own == template
    )
    one, other = teacher.take(units), student.take(units)
    drawn = resample_units(one.units, one.templates, config.n_resamples, config.seed)
    losses = measure_losses(one, other, drawn)
    return {
        "template": template,
        "n": len(units),
        "teacher": _accuracies(one, drawn),
        "student": _accuracies(other, drawn),
        "losses": {name: found.to_json() for name, found in losses.items()},
    }


def _accuracies(answers: QuadAnswers, drawn: Resamples) -> Json:
    right, rows = answers.answers.right, drawn.over(answers.units)
    return {
        cell: estimate_proportion(right[:, [i]], rows).to_json() for i, cell in enumerate(CELLS)
    }
