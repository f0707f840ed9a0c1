"""The part of the stages section that shows how the margin grows with depth."""

from collections.abc import Mapping

from behavior.estimates import Estimate
from behavior.examples import CELLS, LABEL_CELLS, Cell
from circuits.compare.config import Role
from circuits.compare.figures.margins import margin_roles, margin_stages
from circuits.compare.page.markup import columns, paragraph, plot
from circuits.compare.reading import estimate, listing
from circuits.compare.wording import interval

Result = Mapping[str, object]

HEIGHT = 380


def margins_part(result: Result) -> str:
    """A figure for each model, with its sentence; empty where no stage can be read."""
    present = margin_roles(result)
    if not present:
        return ""
    figures = columns(
        *(
            plot(f"margins-{role}", _caption(result, role), f"Margin by depth, {role}", HEIGHT)
            for role in present
        )
    )
    note = (
        f"The model's own classifier, put on the state of every stage{_lens(result)}. Above the "
        "dashed line it says the label (right for A and N), below it the foil (right for C and L). "
        "An early stage near zero is not yet in the form that the classifier reads; that does not "
        "say that nothing is known there."
    )
    return f"<h3>From which stage on is the answer right?</h3>\n{paragraph(note)}{figures}"


def _lens(result: Result) -> str:
    if any(row.get("lens") == "tuned" for row in listing(result, "margins")):
        return (
            ", after an affine map to the last one that was fitted on other quads, since early "
            "blocks have fewer channels"
        )
    return ""


def _caption(result: Result, role: Role) -> str:
    """From which stage on all four cells are right on average, and where two of them end."""
    rows = margin_stages(result, role)
    right = [all(_right(estimate(row, cell), cell) for cell in CELLS) for row in rows]
    first = max((i + 1 for i, each in enumerate(right) if not each), default=0)
    said = (
        f"all four cells are on their right side from {rows[first]['stage']} on"
        if right[-1]
        else "there is no stage from which on all four cells are on their right side"
    )
    ends = " and ".join(f"{cell} at {interval(estimate(rows[-1], cell), 1)}" for cell in ("N", "C"))
    return f"In the {role} {said}, in the mean over quads; at the end {ends}. Bars: 95 % intervals."


def _right(found: Estimate, cell: Cell) -> bool:
    """Whether the mean margin is on the right side of zero, by its interval."""
    if found.value is None:
        return False
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return low > 0 if cell in LABEL_CELLS else high < 0
