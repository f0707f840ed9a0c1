"""The one sentence that reads each figure, made from the numbers that it shows."""

from collections.abc import Mapping

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.reading import (
    SHARE,
    cells,
    contrasts,
    effect_unit,
    estimate,
    listing,
    node_estimates,
    roles,
)
from circuits.compare.storage import Json
from circuits.compare.wording import interval, percent

Result = Mapping[str, object]

CLEAR = 0.02
"""Share of the total range from which on a head is said to carry a contrast."""


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
    return (
        f"The shortcut's share of what moves the answer is {teacher} in the teacher and {student} "
        "in the student. Right is better, up is more biased; dotted lines join equal shares."
    )


def confidence_caption(result: Result) -> str:
    """How sure the student is when it is wrong."""
    found = estimate(result, "models", "student", "behavior", "confidence_when_wrong")
    if found.value is None:
        return f"The student has no wrong answers to be confident in ({found.reason})."
    return (
        f"When the student is wrong it is {percent(found)} sure of it (n = {found.n:,} wrong "
        "answers). A cell without a dot has too few wrong answers; a coin toss would be at 50 %."
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


def heads_caption(result: Result, role: Role, contrast: Contrast) -> str:
    """The strongest heads of one map."""
    nodes = node_estimates(result, role, contrast)
    heads = {name: found for name, found in nodes.items() if name.startswith("a")}
    ranked = sorted(heads, key=lambda name: -abs(heads[name].value or 0.0))[:2]
    clear = sum(1 for found in heads.values() if found.excludes_zero)
    strongest = " and ".join(f"{name} {interval(heads[name])}" for name in ranked)
    return (
        f"{_capital(role)}, {contrast}: strongest {strongest}; the interval of {clear} of "
        f"{len(heads)} heads excludes zero."
    )


def layers_caption(result: Result, contrast: Contrast) -> str:
    """The layer that carries most in each of the two models."""
    key = f"layer_{contrast}" + ("" if effect_unit(result) == SHARE else "_logits")
    parts = [_strongest_layer(result, role, key) for role in roles(result)[:2]]
    known = [part for part in parts if part]
    if not known:
        return "Whole-layer effects were not measured."
    return (
        f"{' '.join(known)} Patterns: only where the heads look is patched; values: only what "
        "they read there. The lines need not add up."
    )


def heads_summary(result: Result) -> str:
    """How many heads of each model carry core and shortcut, by interval."""
    parts: list[str] = []
    for role in roles(result)[:2]:
        counts = [
            f"{_n_above(result, found)} of {len(found)} carry the {contrast}"
            for contrast in contrasts(result, role)
            for found in (_heads(result, role, contrast),)
        ]
        if counts:
            parts.append(f"in the {role} {' and '.join(counts)}")
    bar = f"{CLEAR:g}" if effect_unit(result) == SHARE else "zero"
    return f"Heads whose interval lies above {bar}: {'; '.join(parts)}."


def _strongest_layer(result: Result, role: Role, key: str) -> str:
    rows: list[Json] = [
        row
        for row in listing(result, "stages")
        if row.get("model") == role and estimate(row, key).value is not None
    ]
    if not rows:
        return ""
    best = max(rows, key=lambda row: abs(estimate(row, key).value or 0.0))
    found = estimate(best, key)
    amount = (
        f"{percent(found)} of the total range"
        if effect_unit(result) == SHARE
        else f"{interval(found)} logits"
    )
    return f"In the {role} the largest effect is that of {best['stage']}: {amount}."


def _heads(result: Result, role: Role, contrast: Contrast) -> list[Estimate]:
    nodes = node_estimates(result, role, contrast)
    return [found for name, found in nodes.items() if name.startswith("a")]


def _difference(teacher: Estimate, student: Estimate) -> float:
    if teacher.value is None or student.value is None:
        return 0.0
    return teacher.value - student.value


def _n_above(result: Result, found: list[Estimate]) -> int:
    bar = CLEAR if effect_unit(result) == SHARE else 0.0
    return sum(1 for each in found if each.low is not None and each.low > bar)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
