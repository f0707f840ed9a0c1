"""The part of the page on stages: what is read where, what is decided, what whole layers do."""

from collections.abc import Mapping

from circuits.compare.figures.readability import QUESTIONS, Question, questions
from circuits.compare.page import component_captions
from circuits.compare.page.margins_part import margins_part
from circuits.compare.page.markup import columns, paragraph, plot, section
from circuits.compare.reading import contrasts, estimate, listing, text
from circuits.compare.storage import Json
from circuits.compare.wording import percent

Result = Mapping[str, object]

HEIGHT = 380

_SHOWN = {
    "teacher": "the teacher",
    "student": "the student",
    "student_debiased": "the directly debiased student",
}
_LEADS: dict[Question, str] = {
    "core_NL": "Without the shortcut the core feature is read",
    "core_AC": "Beside the shortcut the core feature is read",
    "transfer": "A probe trained with the shortcut and asked without it reads the core feature",
    "shortcut": "The shortcut is read",
}


def stages_section(result: Result) -> str:
    """Readability by depth, below it margins and the effects of whole layers; empty without."""
    read, decided, layers = _readable(result), margins_part(result), _layers(result)
    if not read and not decided and not layers:
        return ""
    title = (
        "What can be read at each stage?"
        if read
        else "What is decided at each stage?"
        if decided
        else "What do whole layers carry?"
    )
    return section("stages", title, read, decided, layers)


def _readable(result: Result) -> str:
    if not questions(result):
        return ""
    figures = columns(
        *(
            plot(f"readable-{question}", _caption(result, question), QUESTIONS[question], HEIGHT)
            for question in questions(result)
        )
    )
    note = (
        "A probe shows that a feature is there, not that the model answers by it. Chance is 50 %, "
        f"the dashed line.{_beside(result)}"
    )
    return f"{paragraph(_location(result))}{paragraph(note)}{figures}"


def _layers(result: Result) -> str:
    present = contrasts(result)
    if not present:
        return ""
    layers = columns(
        *(
            plot(
                f"layers-{contrast}",
                component_captions.layers_caption(result, contrast),
                f"Whole-layer effects, {contrast}",
                HEIGHT,
            )
            for contrast in present
        )
    )
    return f"<h3>{component_captions.all_heads(result)} together</h3>\n{layers}"


def _caption(result: Result, question: Question) -> str:
    """What is read at the end of each trained model, and the most of untrained nets."""
    parts = [
        f"{percent(estimate(rows[-1], question))} in {name}"
        for model, name in _SHOWN.items()
        for rows in (_measured(result, model, question),)
        if rows
    ]
    untrained = [
        estimate(row, question).value or 0.0
        for model in ("untrained_teacher", "untrained_student")
        for row in _measured(result, model, question)
    ]
    beside = f"; in untrained nets with at most {100 * max(untrained):.0f} %" if untrained else ""
    return f"{_LEADS[question]} at the end with {', '.join(parts)}{beside}."


def _beside(result: Result) -> str:
    if not any(
        _measured(result, f"untrained_{role}", "core_NL") for role in ("teacher", "student")
    ):
        return ""
    return " Untrained nets of the same architectures show what owes nothing to training."


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
            return (
                "Not located: there is no stage from which on the core feature is clearly lost, "
                "and it is not clearly kept to the end."
            )
        case _:
            return "There is no erosion to locate; the profile is shown all the same."
