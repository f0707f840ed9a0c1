"""The part of the page on interventions: what comes back, what is needed, and what changed."""

from collections.abc import Mapping
from typing import cast

from behavior.estimates import Estimate
from circuits.compare.figures.interventions import restored_rows
from circuits.compare.markup import bullets, cell_table, escape, paragraph, plot, section
from circuits.compare.reading import branch, estimate, listing, text
from circuits.compare.storage import Json
from circuits.compare.wording import interval, number, sized

Result = Mapping[str, object]

MOST_CHANGES = 10


def interventions_section(result: Result) -> str:
    """Sentences, the figure of what is restored, and the table of changed nodes."""
    if not branch(result, "alignment").get("level"):
        return ""
    rows = restored_rows(result)
    figure = (
        plot(
            "restored", _restored_caption(result), "Restored by interventions", 130 + 34 * len(rows)
        )
        if rows
        else ""
    )
    return section(
        "interventions",
        "What changes when we intervene?",
        bullets(_sentences(result)),
        figure,
        _changes(result),
    )


def _sentences(result: Result) -> list[str]:
    tests = branch(result, "tests")
    said = [text(result, "alignment", "reason")]
    removal = branch(tests, "removal")
    if "reason" in removal and "heads" not in removal:
        said.append(f"Removal: not tried, {removal['reason']}.")
    necessity = branch(tests, "necessity")
    if "heads" in necessity:
        heads = ", ".join(cast("list[str]", necessity["heads"]))
        controls = cast("list[float]", necessity["controls"])
        most = number(max(controls), 2) if controls else "-"
        needed = "are needed" if necessity["necessary"] else "are not shown to be needed"
        said.append(
            f"The teacher's strongest core heads, {heads}, {needed}: without them its core effect "
            f"falls by {sized(estimate(necessity, 'core'))} in probability, without random heads "
            f"of this shape by at most {most}; its shortcut effect changes by "
            f"{interval(_negated(necessity))}."
        )
    transplant = branch(tests, "transplant")
    if "reason" in transplant:
        said.append(f"Transplant: not tried, {transplant['reason']}.")
    return [line for line in said if line]


def _negated(necessity: Json) -> Estimate:
    found = estimate(necessity, "shortcut")
    if found.value is None or found.low is None or found.high is None:
        return found
    return Estimate(-found.value, -found.high, -found.low, found.n)


def _restored_caption(result: Result) -> str:
    removal = branch(result, "tests", "removal")
    nodes = listing(result, "tests", "transplant", "nodes")
    credited = sum(1 for node in nodes if (estimate(node, "credit").low or 0.0) > 0)
    parts: list[str] = []
    if "heads" in removal:
        verb = "counts as removable" if removal["removable"] else "does not count as removable"
        parts.append(f"The best set of heads to take away ({removal['searched']}) {verb}.")
    if nodes:
        parts.append(
            f"{credited} of {len(nodes)} nodes of the teacher bring back more than all their "
            "controls: another example's output, a direction that tells the label, and other nets."
        )
    return " ".join(parts)


def _changes(result: Result) -> str:
    nodes = listing(result, "diff", "nodes")
    if not nodes:
        reason = text(result, "diff", "reason")
        return paragraph(f"No node is compared with another: {reason}") if reason else ""
    nodes = sorted(nodes, key=lambda node: -abs(estimate(node, "difference").value or 0.0))
    rows = [
        (
            escape(_names(node, "teacher")),
            escape(_names(node, "student")),
            escape(node["contrast"]),
            escape(node["category"]),
            escape(node["origin"] or "-"),
            escape(interval(estimate(node, "difference"))),
            escape(number(cast(float, node["q"]), 3)),
            escape(number(cast("float | None", node["stability"]), 2)),
        )
        for node in nodes[:MOST_CHANGES]
    ]
    counts: dict[str, int] = {}
    for node in nodes:
        counts[str(node["category"])] = counts.get(str(node["category"]), 0) + 1
    said = ", ".join(f"{n} {category}" for category, n in counts.items())
    heads = ("teacher", "student", "contrast", "category", "origin", "change", "q", "stability")
    return cell_table(
        f"The largest changes of matched nodes, as shares of each model's own total range, on the "
        f"quads that test; of {len(nodes)} comparisons: {said}.",
        heads,
        rows,
    )


def _names(node: Json, role: str) -> str:
    return " + ".join(cast("list[str]", node[role])) or "none"
