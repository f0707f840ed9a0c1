"""The overview of several students: `index.html`, `overview.json` and `overview.csv`."""

import csv
import json
from pathlib import Path
from urllib.parse import quote

from circuits.compare.page.markup import (
    bullets,
    cell_table,
    columns,
    definitions,
    escape,
    measure,
    paragraph,
    prose,
    section,
    tile,
)
from circuits.compare.page.report import PAGE
from circuits.compare.page.sheet import sheet
from circuits.compare.reading import branch, text
from circuits.compare.several.lines import lead, place
from circuits.compare.several.ranking import Contestant, Overview, flat_row
from circuits.compare.storage import Json
from circuits.compare.wording import interval

OVERVIEW, INDEX, TABLE = "overview.json", "index.html", "overview.csv"
SCHEMA_VERSION = 1

NAMES = {
    "loss": "mean loss",
    "spurious_share": "spurious share",
    "auc4_change": "change of AUC4",
    "retention": "retention",
}
_DIRECTION = (
    "Mean loss: teacher minus student, in probability of the right answer on C and N. Behind the "
    "best: what a student lost beyond the best one, on the same quads; where its interval reaches "
    "zero, these quads cannot tell the two apart. The best is chosen on the same quads, and the "
    "intervals are not corrected for the number of students."
)
_LIMITS = (
    "These are checkpoints, one of each recipe. That one student ranks above another says nothing "
    "about the recipes that made them: for that, compare several seeds of each and pool them with "
    "python -m circuits.summarize."
)


def write_overview(folder: Path, overview: Overview) -> None:
    """Write the three files into an existing folder."""
    stored = overview_json(overview)
    text_ = json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / OVERVIEW).write_text(text_ + "\n", encoding="utf-8")
    (folder / INDEX).write_text(render(overview), encoding="utf-8")
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream:
        rows = [flat_row(row) for row in overview.rows()]
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def overview_json(overview: Overview) -> Json:
    """All that the page says, as numbers."""
    first = overview.students[0].result
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "overview",
        "teacher": text(first, "models", "teacher", "checkpoint"),
        "task": text(first, "task", "name"),
        "same_quads": overview.same_quads,
        "students": overview.rows(),
        "provenance": first["provenance"],
    }


def render(overview: Overview) -> str:
    """The page."""
    first = overview.students[0].result
    teacher = text(first, "models", "teacher", "checkpoint")
    n = len(overview.students)
    headline = (
        f'<div class="verdict"><span class="chip stamp">{n} checkpoints</span>'
        f"<h1>{n} students of {escape(teacher)}, the one that lost least first</h1>"
        f"{paragraph(lead(overview_json(overview)), 'lead')}</div>"
    )
    sections = (
        section("ranking", "Who lost how much?", _table(overview), paragraph(_DIRECTION)),
        section("students", "One by one", columns(*map(_card, overview.students))),
        section("limits", "What this cannot say", bullets(remarks(overview))),
    )
    return sheet(
        title=f"{n} students of {teacher}",
        overline="several students compared",
        status="",
        headline=headline,
        sections="\n".join(sections),
        footer=_footer(overview),
    )


def remarks(overview: Overview) -> list[str]:
    """What the ranking does not say."""
    other = "The students were not asked the same quads: their tokenizers align others."
    return [_LIMITS] if overview.same_quads else [other, _LIMITS]


def _table(overview: Overview) -> str:
    heads = ("rank", "student", "verdict", "located", *NAMES.values(), "behind the best")
    rows = [
        (
            str(overview.rank(i) or "-"),
            f'<a href="{_link(each)}">{escape(each.folder)}</a>',
            escape(text(each.result, "verdict", "status")),
            escape(place(branch(each.result, "verdict"))),
            *(prose(interval(each.measure(name))) for name in NAMES),
            prose(interval(each.behind)),
        )
        for i, each in enumerate(overview.students)
    ]
    n = overview.students[0].measure("loss").n
    return cell_table(f"95 % intervals; n = {n:,} quads, one seed of each student.", heads, rows)


def _card(each: Contestant) -> str:
    verdict = branch(each.result, "verdict")
    rows = (
        measure("Mean loss", each.measure("loss"), (-1.0, 1.0)),
        measure("Loss on N", each.measure("loss_N"), (-1.0, 1.0)),
        measure("Loss on C", each.measure("loss_C"), (-1.0, 1.0)),
        measure("Spurious share", each.measure("spurious_share"), (0.0, 1.0)),
        f'<p class="models"><a href="{_link(each)}">The page of this student</a></p>',
    )
    sentences = verdict.get("sentences")
    said = str(sentences[0]) if isinstance(sentences, list) and sentences else ""
    return tile(each.folder, str(verdict.get("status")), rows, said)


def _footer(overview: Overview) -> str:
    first = overview.students[0].result
    teacher = text(first, "models", "teacher", "digest")[:16]
    weights = [f"{each.folder} {each.digest[:16]}" for each in overview.students]
    entries = (
        ("Command", text(first, "provenance", "command")),
        ("Task", text(first, "task", "name")),
        ("Weights", "; ".join([f"teacher {teacher}", *weights])),
        ("Revision", text(first, "provenance", "git_revision")),
    )
    return f"<h2>How it was made</h2>{definitions(entries)}"


def _link(each: Contestant) -> str:
    return escape(f"{quote(each.folder)}/{PAGE}")
