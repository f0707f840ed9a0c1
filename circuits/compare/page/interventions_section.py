"""The part of the page on interventions: what comes back, at what cost, and what is needed."""

from collections.abc import Mapping
from typing import cast

from behavior.estimates import Estimate
from circuits.compare.figures.interventions import restored_height, restored_rows
from circuits.compare.page.markup import bullets, columns, plot, section
from circuits.compare.reading import branch, estimate, listing, text
from circuits.compare.wording import interval, number, percent, sized

Result = Mapping[str, object]


def interventions_section(result: Result) -> str:
    """What was tried and what was not, and the figures of what comes back and what it costs."""
    if not text(result, "alignment", "level"):
        return ""
    height = restored_height(result)
    figures = (
        columns(
            plot("restored", _restored_caption(result), "Restored by interventions", height),
            plot("cost", _cost_caption(result), "Gain and cost of interventions", height),
        )
        if restored_rows(result)
        else ""
    )
    said = _sentences(result)
    return section(
        "interventions",
        "What happens when we intervene?",
        figures,
        bullets(said) if said else "",
    )


def _sentences(result: Result) -> list[str]:
    """What no figure shows: necessity, and what was not tried and why."""
    tests = branch(result, "tests")
    said = [_necessity(result)]
    for name, what in (
        ("removal", "No heads were taken away from the student"),
        ("transplant", "Nothing of the teacher was put into the student"),
    ):
        found = branch(tests, name)
        reason = text(found, "reason")
        if reason and "heads" not in found:
            said.append(f"{what}: {reason}.")
    return [line for line in said if line]


def _necessity(result: Result) -> str:
    found = branch(result, "tests", "necessity")
    if "heads" not in found:
        return ""
    heads = ", ".join(cast("list[str]", found["heads"]))
    controls = cast("list[float]", found["controls"])
    fall = estimate(found, "core")
    below = sum(1 for control in controls if control < (fall.value or 0.0))
    needed = "are needed" if found["necessary"] else "are not shown to be needed"
    return (
        f"The teacher's strongest core heads, {heads}, {needed}: without them its core effect "
        f"falls by {sized(fall)} in probability, more than without {below} of {len(controls)} "
        f"random sets of this shape; its shortcut effect changes by "
        f"{interval(_negated(estimate(found, 'shortcut')))}."
    )


def _negated(found: Estimate) -> Estimate:
    if found.value is None or found.low is None or found.high is None:
        return found
    return Estimate(-found.value, -found.high, -found.low, found.n)


def _restored_caption(result: Result) -> str:
    removal = branch(result, "tests", "removal")
    nodes = listing(result, "tests", "transplant", "nodes")
    parts: list[str] = []
    if "heads" in removal:
        heads = ", ".join(cast("list[str]", removal["heads"]))
        verb = "counts as removable" if removal["removable"] else "does not count as removable"
        most = number(100 * max(cast("list[float]", removal["controls"]), default=0.0), 0)
        parts.append(
            f"The best set to take away, {heads}, of {text(removal, 'searched')}, gives back "
            f"{percent(estimate(removal, 'restored'))} of the loss, random sets of this shape at "
            f"most {most} %; it {verb}."
        )
    if nodes:
        credited = sum(1 for node in nodes if (estimate(node, "credit").low or 0.0) > 0)
        parts.append(
            f"{credited} of {len(nodes)} nodes of the teacher give back more than all their "
            "controls: another example's output, a direction that tells the label, and other nets."
        )
    parts.append("Net of the cost on A and L.")
    return " ".join(parts)


def _cost_caption(result: Result) -> str:
    removal = branch(result, "tests", "removal")
    nodes = listing(result, "tests", "transplant", "nodes")
    parts: list[str] = []
    if "heads" in removal:
        parts.append(
            f"Without these heads the right answer gains {percent(estimate(removal, 'gain'))} on C "
            f"and N, and loses {percent(estimate(removal, 'cost'))} on A and L."
        )
    costs = [estimate(node, "cost") for node in nodes]
    known = [cost for cost in costs if cost.value is not None]
    if known:
        worst = max(known, key=lambda cost: cost.value or 0.0)
        parts.append(
            f"A node of the teacher costs at most {percent(worst)} of the right answer's "
            "probability on A and L."
        )
    return " ".join(parts)
