"""Accuracy of teacher and student by template, the largest loss first."""

from collections.abc import Mapping
from typing import cast

from circuits.compare.page.markup import cell_table, escape, prose
from circuits.compare.reading import cells, estimate, listing, pair
from circuits.compare.storage import Json
from circuits.compare.wording import interval, percent

Result = Mapping[str, object]

MOST_TEMPLATES = 20
NOTE = (
    "The largest mean loss first: teacher minus student on C and N, in probability of the right "
    "answer. Beside it the accuracy in each cell. 95 % intervals are over the quads of a template."
)


def templates_table(result: Result) -> str:
    """Every template of the quads; empty where there is only one."""
    stored = listing(result, "templates")
    if not stored:
        return ""
    ranked = sorted(stored, key=_loss, reverse=True)
    left = len(ranked) - MOST_TEMPLATES
    beyond = f" {left} templates with smaller losses are in result.json." if left > 0 else ""
    heads = ("template", "quads", "mean loss", "accuracy", *cells(result))
    rows = [_row(result, each) for each in ranked[:MOST_TEMPLATES]]
    return cell_table(f"{NOTE}{beyond}", heads, rows, wrap=False)


def _loss(row: Json) -> float:
    found = estimate(row, "losses", "mean").value
    return -2.0 if found is None else found


def _row(result: Result, row: Json) -> tuple[str, ...]:
    return (
        escape(row["template"]),
        f"{cast(int, row['n']):,}",
        prose(interval(estimate(row, "losses", "mean"))),
        "<br>".join(pair(result)),
        *(
            "<br>".join(prose(percent(estimate(row, role, cell))) for role in pair(result))
            for cell in cells(result)
        ),
    )
