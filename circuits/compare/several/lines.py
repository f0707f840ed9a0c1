"""The ranking of several students in a terminal, from `overview.json`."""

from collections.abc import Mapping

from circuits.compare.reading import estimate, listing
from circuits.compare.recipe.lines import shortened, table_lines
from circuits.compare.wording import interval, number


def overview_lines(stored: Mapping[str, object]) -> list[str]:
    """One line for each student, the one that lost least first."""
    rows: list[tuple[str, ...]] = [
        ("", "student", "verdict", "mean loss", "behind the best", "retention")
    ]
    for row in listing(stored, "students"):
        shown = [interval(estimate(row, key)) for key in ("loss", "behind_best")]
        shown.append(number(estimate(row, "retention").value))
        names = (str(row["rank"] or "-"), shortened(str(row["folder"]), 24), str(row["status"]))
        rows.append((*names, *shown))
    return table_lines(rows)


def place(stored: Mapping[str, object]) -> str:
    """Where an erosion is located, from a verdict or a row of the overview."""
    location, stage = stored.get("location"), stored.get("stage")
    if location == "located":
        return f"from {stage} on"
    return str(location) if location else "-"


def lead(stored: Mapping[str, object]) -> str:
    """Who lost least, and whom the quads do not tell from it."""
    best, *others = listing(stored, "students")
    loss = estimate(best, "loss")
    if loss.value is None:
        return "The data hold no quads, so the students have no losses and are not ranked."
    near = [str(row["folder"]) for row in others if not estimate(row, "behind_best").excludes_zero]
    apart = (
        f"these quads do not tell it from {', '.join(near)}"
        if near
        else "every other student lost more beyond chance"
    )
    return f"{best['folder']} lost least, {interval(loss)} of the teacher's probability; {apart}."
