"""How numbers are put into sentences: with their interval, and no more digits than it bears."""

import re

from behavior.estimates import Estimate
from behavior.examples import Cell
from circuits.compare.config import Role

ROLE_NAMES: dict[Role, str] = {
    "teacher": "teacher",
    "student": "student",
    "teacher_plain": "teacher, plain",
    "student_plain": "student, plain",
    "student_debiased": "student, debiased",
}

_TWIN = re.compile(r"(\w+)_twin_(\d+)")

NO_ATTENTION = "this family has no attention"

GONE = {"text": "gone", "image": "points away"}
"""What becomes of the shortcut in N and L: words of a text go, a colour turns into the other."""


def cell_names(gone: str) -> dict[Cell, str]:
    """What the cells of a quad are, in a few words."""
    return {
        "A": "A: right core, shortcut agrees",
        "N": f"N: right core, shortcut {gone}",
        "C": "C: wrong core, shortcut present",
        "L": f"L: wrong core, shortcut {gone}",
    }


def model_name(model: str) -> str:
    """A role in words, or the twin of one: `teacher, twin 2`."""
    twin = _TWIN.fullmatch(model)
    if twin is not None:
        return f"{twin[1]}, twin {twin[2]}"
    return {str(role): name for role, name in ROLE_NAMES.items()}.get(model, model)


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of decimals and no negative zero; a dash if there is none."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(estimate: Estimate, digits: int = 2) -> str:
    """Value and 95 % interval, such as `0.41 (0.38 to 0.44)`."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return number(estimate.value, digits)
    low, high = number(estimate.low, digits), number(estimate.high, digits)
    return f"{number(estimate.value, digits)} ({low} to {high})"


def percent(estimate: Estimate) -> str:
    """A probability in percent with its interval, such as `41 % (38 to 44)`."""
    if estimate.value is None:
        return "-"
    value = number(100 * estimate.value, 0)
    if estimate.low is None or estimate.high is None:
        return f"{value} %"
    low, high = number(100 * estimate.low, 0), number(100 * estimate.high, 0)
    return f"{value} % ({low} to {high})"


def sized(estimate: Estimate, unit: str = "quads", digits: int = 2) -> str:
    """Value, interval and count, such as `0.41 (0.38 to 0.44; 400 quads)`."""
    if estimate.value is None:
        return f"not known ({estimate.reason or 'no reason given'})"
    text = interval(estimate, digits)
    return f"{text[:-1]}; {estimate.n:,} {unit})" if text.endswith(")") else text
