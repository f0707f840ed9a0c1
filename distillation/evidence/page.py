"""The numbers over seeds as Markdown tables."""

from collections.abc import Sequence

from behavior.estimates import Estimate
from distillation.evidence.roles import families, in_reading_order
from distillation.evidence.tables import (
    MEASURES,
    Interval,
    Run,
    paired_difference,
)

REFERENCES = ("teacher", "student")
"""Roles that all others of their family are compared with, seed by seed."""

DIFFERENCES = ("accuracy_N", "accuracy_C", "spurious_gap", "spurious_share", "auc4")
_MEANS = (
    "id_accuracy",
    "accuracy_N",
    "accuracy_C",
    "spurious_gap",
    "spurious_share",
    "auc",
    "auc_NL",
    "auc4",
    "retention",
)


def render_markdown(runs: Sequence[Run], found: Sequence[Interval]) -> str:
    """Every run, means with t intervals, and paired differences, as Markdown tables."""
    names = {run.recipe for run in runs}
    lines = ["## Every seed", "", *_header("recipe", "seed", *MEASURES.values())]
    for recipe in in_reading_order(names):
        for run in sorted((x for x in runs if x.recipe == recipe), key=lambda x: x.seed):
            lines.append(_row(recipe, str(run.seed), *(_number(run.values[m]) for m in MEASURES)))
    lines += ["", "## Mean over seeds, 95 % t interval", ""]
    lines += _header("recipe", "seeds", *(MEASURES[m] for m in _MEANS))
    for recipe in in_reading_order(names):
        means = {x.measure: x.mean for x in found if x.recipe == recipe}
        n_seeds = sum(run.recipe == recipe for run in runs)
        lines.append(_row(recipe, str(n_seeds), *(_interval(means[m]) for m in _MEANS)))
    for family, members in families(names).items():
        for reference in REFERENCES:
            lines += _difference_lines(runs, family + reference, members)
    return "\n".join(lines) + "\n"


def _difference_lines(runs: Sequence[Run], reference: str, members: Sequence[str]) -> list[str]:
    lines = ["", f"## Minus `{reference}` of the same seed, 95 % t interval", ""]
    lines += _header("recipe", "seeds", *(MEASURES[m] for m in DIFFERENCES))
    for recipe in members:
        found = [paired_difference(runs, recipe, reference, m) for m in DIFFERENCES]
        if recipe != reference and found[0].n:
            lines.append(_row(recipe, str(found[0].n), *map(_interval, found)))
    return lines


def _header(*names: str) -> list[str]:
    return [_row(*names), _row(*("---" for _ in names))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    # Adding zero turns -0.000 into 0.000.
    return "-" if value is None else f"{round(value, 3) + 0.0:.3f}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"
