"""What the command says at the end: a short table, one sentence, or the same as JSON."""

from collections.abc import Mapping
from pathlib import Path

from circuits.compare.reading import branch, cells, contrasts, estimate, roles
from circuits.compare.wording import ROLE_NAMES, interval, number

Result = Mapping[str, object]

_QUAD_ROWS = (
    ("in-domain accuracy", "id_accuracy"),
    ("aligned accuracy (A, L)", "aligned_accuracy"),
    ("conflicting accuracy (C, N)", "conflicting_accuracy"),
    ("spurious gap", "spurious_gap"),
    ("spurious share", "spurious_share"),
    ("AUC4", "auc4"),
)
_IN_TABLE = ("Loss on ", "AUC4 fell by ")
_PAIR_ROWS = (
    ("accuracy, clean", "clean_accuracy"),
    ("accuracy, corrupted", "corrupted_accuracy"),
    ("effect (probability)", "effect"),
)
_GROUP_ROWS = (
    ("in-domain accuracy", "id_accuracy"),
    ("out-of-domain accuracy", "ood_accuracy"),
    ("aligned accuracy", "aligned_accuracy"),
    ("conflicting accuracy", "conflicting_accuracy"),
)


def terminal_summary(result: Result) -> str:
    """A table of all roles, the losses, and the verdict with what location and tests add to it."""
    lines = role_lines(result)
    if cells(result):
        lines.append(
            f"Loss of the student, in probability of the right answer: on N "
            f"{interval(estimate(result, 'losses', 'N'))}, on C "
            f"{interval(estimate(result, 'losses', 'C'))}."
        )
    return "\n".join([*lines, "", sentence(result), *further_sentences(result)])


def role_lines(result: Result) -> list[str]:
    """The table: each measure, and its value for every role."""
    present = roles(result)
    names = [ROLE_NAMES[role] for role in present]
    rows = _rows(result)
    width = max([len(name) for name, _ in rows] + [0])
    columns = [
        max(len(name), *(len(values[i]) for _, values in rows), 0) if rows else len(name)
        for i, name in enumerate(names)
    ]
    head = ["  ".join([" " * width, *(n.rjust(w) for n, w in zip(names, columns, strict=True))])]
    return head + [
        "  ".join([name.ljust(width), *(v.rjust(w) for v, w in zip(values, columns, strict=True))])
        for name, values in rows
    ]


def sentence(result: Result) -> str:
    """The verdict in one sentence."""
    return next(iter(sentences(result)), "")


def sentences(result: Result) -> list[str]:
    """All of the verdict, the conclusion first."""
    stored = branch(result, "verdict").get("sentences")
    return [str(line) for line in stored] if isinstance(stored, list) else []


def further_sentences(result: Result) -> list[str]:
    """What follows the conclusion, without the numbers that stand in the table already."""
    return [line for line in sentences(result)[1:] if not line.startswith(_IN_TABLE)]


def headline(result: Result, folder: Path) -> dict[str, object]:
    """What a script needs: verdict, losses, erosion, and where the rest lies."""
    return {
        "folder": str(folder),
        "verdict": result["verdict"],
        "losses": result["losses"],
        "erosion": result["erosion"],
        "retention": result["retention"],
        "threshold": branch(result, "tests").get("threshold"),
    }


def _rows(result: Result) -> list[tuple[str, list[str]]]:
    present = roles(result)
    if cells(result):
        rows = [
            (name, [_number(result, "models", r, "behavior", key) for r in present])
            for name, key in _QUAD_ROWS
        ]
        return [row for row in rows if any(value != "-" for value in row[1])]
    rows = [
        (
            f"{contrast}: {name}",
            [_number(result, "models", r, "pairs", contrast, key) for r in present],
        )
        for contrast in contrasts(result)
        for name, key in _PAIR_ROWS
    ]
    rows += [
        (name, [_number(result, "models", r, "behavior", key) for r in present])
        for name, key in _GROUP_ROWS
    ]
    return [(name, values) for name, values in rows if any(value != "-" for value in values)]


def _number(result: Result, *path: str) -> str:
    found = estimate(result, *path)
    return number(found.value, 3) if found.value is not None else "-"
