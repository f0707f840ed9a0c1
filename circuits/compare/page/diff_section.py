"""The part of the page on the diff: what became of matched nodes."""

from collections import Counter
from collections.abc import Mapping
from typing import cast

from circuits.compare.figures.fates import fates
from circuits.compare.page.markup import cell_table, escape, known, paragraph, plot, section
from circuits.compare.reading import estimate, listing, matched
from circuits.compare.storage import Json
from circuits.compare.wording import number

Result = Mapping[str, object]

MOST_CHANGES = 10
CHANGED = ("weakened", "lost", "gained")


def diff_section(result: Result) -> str:
    """Effect mass by fate and the largest changes; empty where heads are not matched."""
    nodes = listing(result, "diff", "nodes")
    if not matched(result) or not nodes:
        return ""
    figure = (
        plot("fates", _fates_caption(result), "Effect mass by what became of it", 260)
        if fates(result)
        else ""
    )
    return section(
        "diff",
        "What became of matched nodes?",
        paragraph(_summary(nodes)),
        figure,
        _changes(result, nodes),
    )


def _summary(nodes: list[Json]) -> str:
    counts = Counter(str(node["category"]) for node in nodes)
    said = ", ".join(f"{n} {category}" for category, n in counts.most_common())
    changed = sum(counts[category] for category in CHANGED)
    return (
        f"Of {len(nodes)} comparisons of matched nodes, each under one contrast, "
        f"{changed or 'none'} declared a change: {said}. Tested on other quads than "
        f"those that matched them, with the false-discovery rate held at 5 %.{_unknown(nodes)}"
    )


def _unknown(nodes: list[Json]) -> str:
    """Changes that could not be had, with the reasons; empty without any."""
    found = [estimate(node, "difference") for node in nodes]
    reasons = Counter(each.reason or "no reason given" for each in found if each.value is None)
    return "".join(
        f" The change of {n} could not be measured: {reason}." for reason, n in reasons.items()
    )


def _fates_caption(result: Result) -> str:
    parts: list[str] = []
    for contrast, mass in fates(result).items():
        total = sum(mass.values())
        if total <= 0:
            continue
        kept = ", ".join(
            f"{100 * part / total:.0f} % {fate}" for fate, part in mass.items() if part > 0
        )
        parts.append(f"{contrast} ({number(total)} of the total range): {kept}")
    said = "; ".join(parts) or "no head has an effect"
    return (
        f"The teacher's effect mass, {said}. Heads overlap in what they do, so that their effects "
        "may add up to more than the whole."
    )


def _changes(result: Result, nodes: list[Json]) -> str:
    similar = {
        (str(link["teacher"]), str(link["student"])): cast(float, link["similarity"])
        for link in listing(result, "alignment", "links")
    }
    largest = sorted(nodes, key=lambda node: -abs(estimate(node, "difference").value or 0.0))
    rows = [
        (
            escape(_names(node, "teacher")),
            escape(_names(node, "student")),
            escape(node["contrast"]),
            escape(node["category"]),
            escape(node["origin"] or "-"),
            known(estimate(node, "difference")),
            escape(number(cast(float, node["q"]), 3)),
            escape(number(similar.get((_names(node, "teacher"), _names(node, "student"))))),
            escape(number(cast("float | None", node["stability"]), 2)),
        )
        for node in largest[:MOST_CHANGES]
    ]
    heads = (
        *("teacher", "student", "contrast", "category", "origin"),
        *("change", "q", "similarity", "stability"),
    )
    n = max(estimate(node, "difference").n for node in largest)
    return cell_table(
        f"The {len(rows)} largest changes, as shares of each model's own total range, with 95 % "
        f"intervals; n = {n:,} quads. Origin: whether the node itself answers differently (own) "
        "or was given other inputs. Stability: share of resamples that say the same.",
        heads,
        rows,
        wrap=False,
    )


def _names(node: Json, role: str) -> str:
    return " + ".join(cast("list[str]", node[role])) or "none"
