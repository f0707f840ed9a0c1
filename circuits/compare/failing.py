"""Inputs on which the student fails and the teacher does not, surest failures first."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from behavior.answers import Answers, QuadAnswers, example_answers
from behavior.examples import CELLS
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import PAIR, Role
from circuits.compare.evidence import Evidence
from circuits.compare.page.pictures import describe_input
from circuits.compare.storage import Json


def failures(
    evidence: Evidence, answers: Mapping[Role, RoleAnswers], n_per_cell: int = 3
) -> list[Json]:
    """Of quads a few for each cell, each quad once; of examples in groups a few for each group.

    Groups count only where it is known whether the shortcut points to the label.
    """
    teacher, student = (answers[role] for role in PAIR)
    if teacher.quads is not None and student.quads is not None:
        return _of_quads(evidence, teacher.quads, student.quads, n_per_cell)
    known = any(example.aligned is not None for example in evidence.examples)
    if evidence.pairs or not known or teacher.examples is None or student.examples is None:
        return []
    return _of_groups(
        evidence,
        example_answers(teacher.examples, teacher.truth),
        example_answers(student.examples, student.truth),
        n_per_cell,
    )


def _of_quads(
    evidence: Evidence, teacher: QuadAnswers, student: QuadAnswers, n_per_cell: int
) -> list[Json]:
    found: list[Json] = []
    used: set[str] = set()
    for column, cell in enumerate(CELLS):
        chosen, given = _surest(teacher.answers, student.answers, column)
        for i in [i for i in chosen if evidence.quads[i].id not in used][:n_per_cell]:
            quad = evidence.quads[i]
            used.add(quad.id)
            found.append(
                {
                    "id": quad.id,
                    "cell": cell,
                    "template": quad.template,
                    "truth": quad.truth(cell),
                    "input": describe_input(quad.cell(cell)),
                    **{role: float(values[i]) for role, values in given.items()},
                    "answers": _said(
                        evidence,
                        {"teacher": teacher.answers, "student": student.answers},
                        i,
                        column,
                    ),
                }
            )
    return found


def _of_groups(
    evidence: Evidence, teacher: Answers, student: Answers, n_per_group: int
) -> list[Json]:
    chosen, given = _surest(teacher, student, 0)
    found: list[Json] = []
    for group in sorted({example.group for example in evidence.examples if example.group}):
        members = [i for i in chosen if evidence.examples[i].group == group]
        for example, i in ((evidence.examples[i], i) for i in members[:n_per_group]):
            found.append(
                {
                    "id": example.id,
                    "group": group,
                    "truth": example.label,
                    "input": describe_input(example.input),
                    **{role: float(values[i]) for role, values in given.items()},
                    "answers": _said(evidence, {"teacher": teacher, "student": student}, i, 0),
                }
            )
    return found


def _surest(
    teacher: Answers, student: Answers, column: int
) -> tuple[Sequence[int], dict[Role, Float[np.ndarray, " row"]]]:
    """Rows on which only the student fails, and what both give to the truth."""
    truth: Int[np.ndarray, " row"] = student.truth[:, column]
    rows = np.arange(len(truth))
    given: dict[Role, Float[np.ndarray, " row"]] = {
        "teacher": teacher.probabilities[rows, column, truth],
        "student": student.probabilities[rows, column, truth],
    }
    fails = teacher.right[:, column] & ~student.right[:, column]
    order = np.argsort(given["student"], kind="stable").tolist()
    return [i for i in order if fails[i]], given


def _said(evidence: Evidence, answers: Mapping[Role, Answers], row: int, column: int) -> Json:
    """What each model answers to one input, and how sure it is."""
    labels = evidence.task.labels
    return {
        role: {
            "label": labels[int(given.predictions[row, column])],
            "confidence": float(given.confidence[row, column]),
        }
        for role, given in answers.items()
    }
