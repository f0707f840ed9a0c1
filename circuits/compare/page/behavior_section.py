"""The parts of the page on behavior: how often and how surely right, and what moves the answer."""

from collections.abc import Mapping

from circuits.compare.page import captions
from circuits.compare.page.markup import columns, more, paragraph, plot, section
from circuits.compare.page.tables import (
    agreement_table,
    contrast_table,
    cue_table,
    group_table,
    role_table,
)
from circuits.compare.reading import cells, roles

Result = Mapping[str, object]

NO_QUADS = (
    "These data hold no quads, so core and shortcut cannot be told apart: there are no losses "
    "on C and N, no share and no AUC4. What can be measured is below."
)


def accuracy_section(result: Result) -> str:
    """Accuracy by cell of all roles, confidence when wrong, agreement with the teacher."""
    title = "How often is it right, and how sure when wrong?"
    if not cells(result):
        tables = contrast_table(result), group_table(result), agreement_table(result)
        return section("erosion", title, paragraph(NO_QUADS), *tables)
    height = 150 + 62 * len(roles(result))
    return section(
        "erosion",
        title,
        plot("accuracy", captions.accuracy_caption(result), "Accuracy by cell", height),
        columns(
            plot("confidence", captions.confidence_caption(result), "Confidence when wrong", 340),
            plot("agreement", captions.agreement_caption(result), "Agreement by cell", 340),
        ),
        more("Agreement in numbers", agreement_table(result)),
    )


def plane_section(result: Result) -> str:
    """The core-shortcut plane beside its numbers; every measure of every role below."""
    if not cells(result):
        return ""
    return section(
        "plane",
        "What moves the answer?",
        columns(
            plot("plane", captions.plane_caption(result), "Core-shortcut plane", 430),
            f"<div>{cue_table(result)}</div>",
        ),
        more("Every measure of every role", role_table(result)),
    )
