"""The one sentence that reads each figure, made from the numbers that it shows."""

from collections.abc import Mapping

from behavior.estimates import Estimate
from circuits.compare.reading import cells, estimate, listing, n_labels
from circuits.compare.wording import interval, percent

Result = Mapping[str, object]


def accuracy_caption(result: Result) -> str:
    """Which cell the student lost most on."""
    gaps = {
        cell: _difference(
            estimate(result, "models", "teacher", "groups", cell, "accuracy"),
            estimate(result, "models", "student", "groups", cell, "accuracy"),
        )
        for cell in cells(result)
    }
    worst = max(gaps, key=lambda cell: gaps[cell])
    teacher, student = (
        percent(estimate(result, "models", role, "groups", worst, "accuracy"))
        for role in ("teacher", "student")
    )
    if gaps[worst] <= 0:
        return "On no cell is the student less accurate than the teacher. Bars: 95 % intervals."
    return (
        f"The largest loss is on {worst}: the teacher is right on {teacher}, the student on "
        f"{student}. Dots of one model lie together when it is not biased. Bars: 95 % intervals."
    )


def plane_caption(result: Result) -> str:
    """Both shares, and how to read the plane."""
    teacher, student = (
        interval(estimate(result, "models", role, "behavior", "spurious_share"))
        for role in ("teacher", "student")
    )
    n_seeds = len(listing(result, "twin_cues"))
    seeds = f" Small dots are {n_seeds} models from other seeds." if n_seeds else ""
    return (
        f"The shortcut's share of what moves the answer is {teacher} in the teacher and {student} "
        "in the student. Right is better, up is more biased; dotted lines join equal shares."
        f"{seeds}"
    )


def confidence_caption(result: Result) -> str:
    """How sure the student is when it is wrong."""
    found = estimate(result, "models", "student", "behavior", "confidence_when_wrong")
    if found.value is None:
        return f"The student has no wrong answers to be confident in ({found.reason})."
    return (
        f"When the student is wrong it is {percent(found)} sure of it (n = {found.n:,} wrong "
        f"answers). A cell without a dot has too few wrong answers; {_guess(result)}."
    )


def agreement_caption(result: Result) -> str:
    """The cell with the least agreement."""
    rates = {cell: estimate(result, "agreement", cell, "all", "rate") for cell in cells(result)}
    known = {cell: rate for cell, rate in rates.items() if rate.value is not None}
    if not known:
        return "Agreement was not measured."
    least = min(known, key=lambda cell: known[cell].value or 0.0)
    return (
        f"Student and teacher give the same answer least often on {least}: {percent(known[least])} "
        f"of {known[least].n:,}."
    )


def _guess(result: Result) -> str:
    n = n_labels(result)
    if n == 2:
        return "a coin toss would be at 50 %"
    return f"a guess among {n} labels would be at {100 / n:.0f} %"


def _difference(teacher: Estimate, student: Estimate) -> float:
    if teacher.value is None or student.value is None:
        return 0.0
    return teacher.value - student.value
