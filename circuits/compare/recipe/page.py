"""The page of a recipe, drawn from `summary.json` alone, in the look of the report."""

from collections.abc import Mapping
from typing import cast

from behavior.estimates import Estimate
from circuits.compare.figures.seeds_plane import plane_roles, seeds_plane_figure
from circuits.compare.page.markup import (
    bullets,
    cell_table,
    definitions,
    escape,
    measure,
    paragraph,
    prose,
    section,
    tile,
)
from circuits.compare.page.sheet import sheet
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.recipe.lines import SIGNS, TITLES
from circuits.compare.recipe.plane import seeds_plane_section
from circuits.compare.storage import Json
from circuits.compare.wording import interval

_HEADLINES = {
    "erosion": "Students of this recipe lose debiasing that their teachers have",
    "threshold shift": "The threshold of this recipe's students moves; their ranking does not",
    "no erosion": "Students of this recipe keep their teachers' debiasing",
    "undecided": "Whether this recipe keeps the debiasing is undecided",
}
_SIGNED, _SHARE = (-1.0, 1.0), (0.0, 1.0)


def render_recipe(stored: Mapping[str, object]) -> str:
    """The whole page."""
    status = str(branch(stored, "verdict")["status"])
    claims = branch(stored, "claims")
    sections = (
        seeds_plane_section(stored),
        section("seeds", "Seed by seed", _seeds(stored)),
        section(
            "claims",
            "What holds over seeds?",
            paragraph(SIGNS),
            *(_claim(claim, cast(Json, found)) for claim, found in claims.items()),
        ),
        section(
            "differs",
            "How this differs from a verdict about two checkpoints",
            bullets([str(line) for line in cast("list[object]", stored["differs"])]),
        ),
    )
    return sheet(
        title=f"A recipe over {stored['n_seeds']} seeds",
        overline="a recipe over seeds",
        status=status,
        headline=_headline(stored, status),
        sections="\n".join(sections),
        footer=_footer(stored),
        figures={"plane": seeds_plane_figure(stored)} if plane_roles(stored) else {},
    )


def _headline(stored: Mapping[str, object], status: str) -> str:
    first, *others = [str(s) for s in cast("list[object]", branch(stored, "verdict")["sentences"])]
    n = stored["n_seeds"]
    return (
        f'<div class="verdict"><span class="chip">{escape(status)}</span>'
        f'<span class="chip stamp">recipe over {escape(n)} seeds</span>'
        f"<h1>{escape(_HEADLINES[status])}</h1>{paragraph(first, 'lead')}{bullets(others)}</div>"
        f'<div class="tiles">{_lost(stored)}{_kept(stored)}{_where(stored)}</div>'
    )


def _lost(stored: Mapping[str, object]) -> str:
    rows = (
        measure("Loss on N", _mean(stored, "loss_N"), _SIGNED),
        measure("Loss on C", _mean(stored, "loss_C"), _SIGNED),
        measure("Loss of AUC4", _mean(stored, "auc4_loss"), (-0.5, 0.5)),
        measure("Change of the share", _mean(stored, "spurious_share_change"), _SIGNED),
    )
    return tile("Lost?", str(branch(stored, "verdict")["status"]), rows, _count(stored))


def _kept(stored: Mapping[str, object]) -> str:
    kept = _mean(stored, "retention")
    rows = (
        measure("Retention", kept, _SHARE),
        measure("One further seed: mean loss", _mean(stored, "loss", "further_seed"), _SIGNED),
    )
    answer = "not known" if kept.value is None else f"{100 * kept.value:.0f} % kept"
    return tile("How much?", answer, rows, f"{_count(stored)}; {kept.n} have a retention.")


def _where(stored: Mapping[str, object]) -> str:
    verdict = branch(stored, "verdict")
    counts = ", ".join(f"{name}: {n}" for name, n in branch(stored, "locations").items())
    stage = f" from {verdict['stage']} on" if verdict.get("stage") else ""
    answer = f"{verdict['location']}{stage}" if verdict.get("location") else "not said"
    return tile("Where?", answer, (), f"Seeds by location: {counts}.")


def _seeds(stored: Mapping[str, object]) -> str:
    losses = [
        listing(stored, "claims", "C1", name, "seeds") for name in ("loss", "loss_N", "loss_C")
    ]
    rows = [
        (
            escape(run["folder"]),
            escape(run["status"]),
            escape(run.get("location") or "-"),
            escape(run.get("stage") or "-"),
            *(prose(interval(Estimate.from_json(each))) for each in found),
        )
        for run, *found in zip(listing(stored, "runs"), *losses, strict=True)
    ]
    heads = ("run", "verdict", "located", "stage", "mean loss", "loss on N", "loss on C")
    return cell_table("Intervals of each run are over its quads.", heads, rows)


def _claim(claim: str, found: Json) -> str:
    rows = [
        (
            escape(each["name"]),
            prose(interval(estimate(each, "mean"))),
            prose(interval(estimate(each, "further_seed"))),
            escape(estimate(each, "mean").n),
            escape(
                " ".join(str(sign) or "?" for sign in cast("list[object]", each.get("signs", [])))
            ),
        )
        for each in (branch(found, name) for name in found)
    ]
    heads = ("", "mean (t interval)", "one further seed (prediction interval)", "n", "signs")
    return cell_table(TITLES[claim], heads, rows)


def _mean(stored: Mapping[str, object], name: str, which: str = "mean") -> Estimate:
    return estimate(stored, "claims", "C1", name, which)


def _count(stored: Mapping[str, object]) -> str:
    return f"Mean and t interval over {stored['n_seeds']} seeds"


def _footer(stored: Mapping[str, object]) -> str:
    config = ", ".join(f"{name} {value}" for name, value in branch(stored, "config").items())
    weights = "; ".join(
        f"{run['folder']}: student {branch(run, 'digests').get('student', '')!s:.16}"
        for run in listing(stored, "runs")
    )
    entries = (("Task", str(stored["task"])), ("Settings", config), ("Weights", weights))
    return f"<h2>How it was made</h2>{definitions(entries)}"
