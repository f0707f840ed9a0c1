"""A recipe in a terminal, from `summary.json`: the verdict, and one line for each number."""

import textwrap
from collections.abc import Mapping
from typing import cast

from behavior.estimates import Estimate
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.storage import Json
from circuits.compare.wording import interval, number

WIDTH = 98
TITLES = {
    "C1": "C1: the distilled student against its teacher",
    "C2": "C2: the distilled student minus the directly debiased one, paired by seed",
    "plain": "The distilled student minus the plainly trained one, paired by seed",
}
SIGNS = (
    "Signs are those of the single seeds, in brackets where the seed's own interval over quads "
    "reaches zero."
)


def recipe_lines(stored: Mapping[str, object]) -> list[str]:
    """At most 98 columns wide."""
    verdict = branch(stored, "verdict")
    sentences = [str(line) for line in cast("list[object]", verdict["sentences"])]
    place = f", {verdict['location']}" if verdict.get("location") else ""
    lines = [
        f"{stored['task']}: recipe over {stored['n_seeds']} seeds: {verdict['status']}{place}",
        "",
        *wrapped(sentences),
        "",
        *seed_lines(stored),
    ]
    for claim, found in branch(stored, "claims").items():
        lines += ["", TITLES[claim], *_claim(cast(Json, found))]
    differs = [str(line) for line in cast("list[object]", stored["differs"])]
    return [*lines, "", *textwrap.wrap(SIGNS, WIDTH), "", *wrapped(differs)]


def wrapped(sentences: list[str]) -> list[str]:
    """Each sentence as a bullet."""
    return [
        line
        for each in sentences
        for line in textwrap.wrap(each, WIDTH, initial_indent="- ", subsequent_indent="  ")
    ]


def seed_lines(stored: Mapping[str, object]) -> list[str]:
    """What each run said."""
    rows: list[tuple[str, ...]] = [("run", "verdict", "located", "loss on N", "loss on C")]
    losses = [listing(stored, "claims", "C1", name, "seeds") for name in ("loss_N", "loss_C")]
    for run, n, c in zip(listing(stored, "runs"), *losses, strict=True):
        stage = f" from {run['stage']}" if run.get("stage") else ""
        place = f"{run['location']}{stage}" if run.get("location") else "-"
        shown = (interval(Estimate.from_json(each)) for each in (n, c))
        rows.append((shortened(str(run["folder"])), str(run["status"]), place, *shown))
    return table_lines(rows)


def table_lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns side by side, all to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def shortened(folder: str, width: int = 20) -> str:
    """The end of a long name."""
    return folder if len(folder) <= width else f"...{folder[3 - width :]}"


def _claim(found: Json) -> list[str]:
    rows: list[tuple[str, ...]] = [("", "mean over seeds (95 %)", "one further seed", "n", "signs")]
    for name in found:
        each = branch(found, name)
        mean, further = estimate(each, "mean"), estimate(each, "further_seed")
        ends = (
            f"{number(further.low)} to {number(further.high)}"
            if further.low is not None and further.high is not None
            else "-"
        )
        signs = " ".join(str(sign) or "?" for sign in cast("list[object]", each.get("signs") or []))
        label = str(each["name"]).split(", distilled minus")[0]
        rows.append((label, interval(mean), ends, str(mean.n), signs))
    return table_lines(rows)
