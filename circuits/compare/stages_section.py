"""The part of the page on stages: what can be read where, in which model."""

from collections.abc import Mapping

from circuits.compare.figures.readability import QUESTIONS, Question, questions
from circuits.compare.markup import columns, paragraph, plot, section
from circuits.compare.reading import estimate, listing, text
from circuits.compare.storage import Json
from circuits.compare.wording import interval

Result = Mapping[str, object]

HEIGHT = 380


def stages_section(result: Result) -> str:
    """Four figures of readability by depth; empty where nothing was read."""
    if not questions(result):
        return ""
    figures = columns(
        *(
            plot(f"readable-{question}", _caption(result, question), QUESTIONS[question], HEIGHT)
            for question in questions(result)
        )
    )
    return section(
        "stages",
        "What can be read at each stage?",
        paragraph(_location(result)),
        figures,
        paragraph(
            "A probe shows that a feature is there, not that the model answers by it. Untrained "
            "nets of the same architectures show what owes nothing to training."
        ),
    )


def _caption(result: Result, question: Question) -> str:
    """First and last stage of teacher and student in words."""
    parts: list[str] = []
    for model in ("teacher", "student", "student_debiased"):
        rows = _measured(result, model, question)
        if rows:
            end = rows[-1]
            parts.append(
                f"{model.replace('_', ', ').replace('student, debiased', 'debiased student')} "
                f"{interval(estimate(end, question))} at the end ({end['stage']})"
            )
    untrained = [
        estimate(row, question).value or 0.0
        for model in ("untrained_teacher", "untrained_student")
        for row in _measured(result, model, question)
    ]
    beside = f"; untrained nets at most {max(untrained):.2f}" if untrained else ""
    return f"{QUESTIONS[question].capitalize()}: {', '.join(parts)}{beside}. Chance is .50."


def _measured(result: Result, model: str, question: Question) -> list[Json]:
    return [
        row
        for row in listing(result, "stages")
        if row.get("model") == model and estimate(row, question).value is not None
    ]


def _location(result: Result) -> str:
    match text(result, "verdict", "location"):
        case "located":
            stage = text(result, "verdict", "stage")
            return (
                f"Located: from stage {stage} of the student on, the core feature is no longer "
                "readable without the shortcut as it is in the teacher."
            )
        case "present, not used":
            return (
                "Present, not used: the student holds the core feature to the end, and something "
                "else outweighs it."
            )
        case "not located":
            return "Not located: no stage from which on the core feature is clearly lost."
        case _:
            return "There is no erosion to locate; the profile is shown all the same."
