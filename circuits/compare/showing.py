"""`python -m circuits.show FOLDER`: a stored comparison in a terminal, at most 98 columns wide."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from behavior.command_line import DONE, OneLineParser, guarded
from behavior.errors import ResultError
from behavior.estimates import Estimate
from circuits.compare.reading import (
    branch,
    contrasts,
    effect_unit,
    estimate,
    is_head,
    listing,
    node_estimates,
    pair,
    sample,
    text,
)
from circuits.compare.recipe.lines import recipe_lines, table_lines, wrapped
from circuits.compare.several.lines import overview_lines
from circuits.compare.storage import RESULT, read_result
from circuits.compare.summary import role_lines, sentences
from circuits.compare.wording import interval, number

Result = Mapping[str, object]

MOST_ROWS = 10

_EPILOG = """\
  python -m circuits.show runs/teacher-student
  python -m circuits.show runs/teacher-2-students     # several students
  python -m circuits.show runs/recipe                 # a summary over seeds
"""
_READINGS = {
    "core_AC": "A|C",
    "core_NL": "N|L",
    "transfer": "A|C to N|L",
    "shortcut": "shortcut",
}
_TESTED = {
    "removal": {
        "restored": "share of the loss restored, net",
        "gain": "gained on C and N",
        "cost": "cost on A and L",
    },
    "necessity": {"core": "fall of the core effect", "shortcut": "fall of the shortcut effect"},
}
_OF = {"removal": "student", "necessity": "teacher"}
_OTHERS: dict[str, Callable[[Result], list[str]]] = {
    "overview.json": overview_lines,
    "summary.json": recipe_lines,
}
"""What other commands store, and how it is printed."""


def show_command(arguments: Sequence[str] | None = None) -> int:
    """Print the verdict and the tables; 0 is done, 2 if the folder holds no result."""
    return guarded(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    lines = stored_lines(build_parser().parse_args(arguments).folder)
    sys.stdout.write("\n".join(lines) + "\n")
    return DONE


def build_parser() -> OneLineParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.show",
        description="Print a stored comparison: its verdict with all sentences, and its tables.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="written by circuits.compare or .summarize"
    )
    return parser


def stored_lines(folder: Path) -> list[str]:
    """What a folder holds, as lines.

    Raises:
        ResultError: If it holds no result that can be read.
    """
    if not (folder / RESULT).is_file():
        for name, lines in _OTHERS.items():
            if (folder / name).is_file():
                return lines(_read(folder / name))
    return comparison_lines(read_result(folder)[0])


def comparison_lines(result: Result) -> list[str]:
    """Verdict, behaviour, differences, stages, heads, matched nodes, interventions, limits."""
    parts = (
        _verdict(result),
        role_lines(result),
        _differences(result),
        _stages(result),
        *(_heads(result, contrast) for contrast in contrasts(result)),
        _nodes(result),
        _tests(result),
        _limits(result),
    )
    return [line for part in parts if part for line in (*part, "")][:-1]


def _verdict(result: Result) -> list[str]:
    verdict = branch(result, "verdict")
    place = f", {verdict['location']}" if verdict.get("location") else ""
    names = " to ".join(text(result, "models", role, "checkpoint") for role in pair(result))
    return [
        f"{names} ({text(result, 'task', 'name')}; two checkpoints): {verdict['status']}{place}",
        "",
        *wrapped(sentences(result)),
    ]


def _differences(result: Result) -> list[str]:
    rows = (
        ("loss on N", ("losses", "N")),
        ("loss on C", ("losses", "C")),
        ("mean loss", ("losses", "mean")),
        ("change of the spurious share", ("erosion", "spurious_share")),
        ("change of the spurious gap", ("erosion", "spurious_gap")),
        ("change of AUC4", ("erosion", "auc4")),
        ("retention", ("retention",)),
        ("regained by a threshold", ("tests", "threshold", "regained")),
    )
    found = [(name, estimate(result, *path)) for name, path in rows]
    shown = [(name, interval(each), f"n = {each.n:,}") for name, each in found if _known(each)]
    return ["Student against teacher (95 %)", *table_lines(shown)] if shown else []


def _stages(result: Result) -> list[str]:
    rows: list[tuple[str, ...]] = [("model", "stage", "depth", *_READINGS.values())]
    for row in listing(result, "stages"):
        values = [estimate(row, name).value for name in _READINGS]
        if any(value is not None for value in values):
            depth = number(cast(float, row["depth"]))
            rows.append((str(row["model"]), str(row["stage"]), depth, *map(number, values)))
    title = "What a weak probe reads at each stage (accuracy; chance is 0.5)"
    return [title, *table_lines(rows)] if len(rows) > 1 else []


def _heads(result: Result, contrast: str) -> list[str]:
    """The strongest heads of each model, side by side and not matched."""
    columns = {
        role: sorted(
            (
                (name, each)
                for name, each in node_estimates(result, role, contrast).items()  # pyright: ignore
                if is_head(name) and each.value is not None
            ),
            key=lambda item: -abs(item[1].value or 0),
        )[:MOST_ROWS]
        for role in pair(result)
    }
    rows: list[tuple[str, ...]] = [tuple(cell for role in columns for cell in (role, "effect"))]
    for i in range(max(map(len, columns.values()), default=0)):
        cells = [found[i] if i < len(found) else None for found in columns.values()]
        rows.append(
            tuple(part for c in cells for part in ((c[0], interval(c[1])) if c else ("", "")))
        )
    title = f"Heads by effect on the {contrast} ({effect_unit(result)}; {sample(result)})"
    return [title, *table_lines(rows)] if len(rows) > 1 else []


def _nodes(result: Result) -> list[str]:
    nodes = listing(result, "diff", "nodes")
    rows: list[tuple[str, ...]] = [
        ("teacher", "student", "contrast", "category", "origin", "difference", "q")
    ]
    strongest = sorted(nodes, key=lambda node: -abs(estimate(node, "difference").value or 0))
    for node in strongest[:MOST_ROWS]:
        names = ["+".join(cast("list[str]", node[side])) for side in ("teacher", "student")]
        said = [str(node.get(key) or "-") for key in ("contrast", "category", "origin")]
        q = number(cast("float | None", node.get("q")), 3)
        rows.append((*names, *said, interval(estimate(node, "difference")), q))
    title = f"Matched nodes, the {min(MOST_ROWS, len(nodes))} largest differences of {len(nodes)}"
    return [title, *table_lines(rows)] if nodes else []


def _tests(result: Result) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for test, words in _TESTED.items():
        found = branch(result, "tests", test)
        heads = " ".join(map(str, cast("list[object]", found.get("heads") or [])))
        for name, what in words.items() if heads else ():
            rows.append(
                (f"without {heads} of the {_OF[test]}", what, interval(estimate(found, name)))
            )
    for node in listing(result, "tests", "transplant", "nodes")[:MOST_ROWS]:
        placed = f"{node.get('teacher')} put in place of {node.get('student')}"
        rows.append((placed, "share of the loss restored", interval(estimate(node, "restored"))))
        rows.append(("", "beyond every control", interval(estimate(node, "credit"))))
    return ["Interventions (95 %)", *table_lines(rows)] if rows else []


def _limits(result: Result) -> list[str]:
    stored = result.get("limits")
    lines = [str(line) for line in stored] if isinstance(stored, list) else []
    return ["What cannot be said", *wrapped(lines)] if lines else []


def _known(found: Estimate) -> bool:
    return found.value is not None


def _read(path: Path) -> Result:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stored = None
    if not isinstance(stored, dict):
        raise ResultError(f"{path} cannot be read. Run the command that wrote it again.")
    return cast(Result, stored)
