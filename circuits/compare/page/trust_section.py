"""The part of the page on trust: nulls, faithfulness, first order against exact, and limits."""

from collections.abc import Mapping, Sequence
from typing import cast

from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.nulls import best_null, nulls_height
from circuits.compare.page import component_captions
from circuits.compare.page.markup import bullets, columns, number_row, plot, section, table
from circuits.compare.page.nulls_table import not_measured, nulls_table
from circuits.compare.reading import (
    attributed,
    branch,
    circuit_contrasts,
    contrasts,
    estimate,
    listing,
    matched,
    pair,
    units,
)
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, interval, number

Result = Mapping[str, object]

SIZES = (10.0, 20.0)


def trust_section(result: Result) -> str:
    """What speaks for these numbers, what against, and what cannot be said from them."""
    stored = result.get("limits")
    lines = [str(line) for line in stored] if isinstance(stored, list) else []
    return section(
        "limits",
        "How far can this be trusted?",
        _null_runs(result),
        _null(result),
        _faithfulness(result),
        _attribution(result),
        "<h3>What cannot be said</h3>" if lines else "",
        bullets(lines) if lines else "",
        not_measured(result),
    )


def _null_runs(result: Result) -> str:
    table = nulls_table(result)
    return f"<h3>What did null runs and controls say?</h3>\n{table}" if table else ""


def _null(result: Result) -> str:
    if best_null(result) is None:
        return ""
    figure = plot(
        "nulls", _null_caption(result), "Matches of heads and of nulls", nulls_height(result)
    )
    return f"<h3>Could heads be matched by chance?</h3>{figure}"


def _null_caption(result: Result) -> str:
    found = best_null(result)
    name, match = found if found else ("none", estimate({}, "none"))
    null = branch(result, "alignment", "null")
    verb = "are matched" if matched(result) else "are not matched"
    return (
        f"The best matches of teacher and student have a similarity of "
        f"{interval(estimate(null, 'own'), 3)}, the best null, {name}, {interval(match, 3)}; "
        f"they lead the next head by {interval(estimate(null, 'lead'), 3)}, where "
        f"{null.get('least_lead', '-')} is asked for. So heads {verb}."
    )


def _faithfulness(result: Result) -> str:
    present: list[tuple[Role, Contrast]] = [
        (role, contrast) for role in pair(result) for contrast in circuit_contrasts(result, role)
    ]
    if not present:
        return ""
    n = estimate(_points(result, *present[0])[0], "faithfulness").n
    caption = (
        f"Faithfulness f of the strongest 10 and 20 % of the edges alone, and of as many random "
        f"ones; 1 is the whole model. n = {n:,} held-out {units(result)}, 95 % intervals below."
    )
    live = _sizes(result, present, caption, {"circuit": "faithfulness", "random": "random"})
    return f"<h3>How faithful are small circuits?</h3>{live}{_frozen(result, present)}"


def _frozen(result: Result, present: Sequence[tuple[Role, Contrast]]) -> str:
    """Live against frozen; empty where circuits were not run with frozen gates."""
    apart = [
        (abs(live.value - frozen.value), f"{ROLE_NAMES[role]}, {contrast}")
        for role, contrast in present
        for point in (_nearest(_points(result, role, contrast), size) for size in SIZES)
        for live, frozen in [(estimate(point, "faithfulness"), estimate(point, "frozen"))]
        if live.value is not None and frozen.value is not None
    ]
    if not apart:
        return ""
    most, where = max(apart)
    caption = (
        "The same circuits live, where every norm and ReLU answers to what the circuit carries, "
        "and with these gates frozen between the two whole runs, which is the model that "
        f"gradient scores describe. Largest difference {number(most)} ({where}). Only live runs "
        "count."
    )
    return _sizes(result, present, caption, {"live": "faithfulness", "frozen": "frozen"})


def _sizes(
    result: Result,
    present: Sequence[tuple[Role, Contrast]],
    caption: str,
    keys: Mapping[str, str],
) -> str:
    """A row for each circuit; at each of `SIZES` a column for each key of a point."""
    rows = [
        number_row(
            f"{ROLE_NAMES[role]}, {contrast}",
            [
                estimate(_nearest(_points(result, role, contrast), size), key)
                for size in SIZES
                for key in keys.values()
            ],
        )
        for role, contrast in present
    ]
    heads = ("", *(f"{what} {size:.0f} %" for size in SIZES for what in keys))
    return table(caption, heads, rows)


def _points(result: Result, role: str, contrast: str) -> list[Json]:
    return listing(result, "models", role, "circuits", contrast, "faithfulness")


def _nearest(points: list[Json], percent: float) -> Json:
    return min(points, key=lambda point: abs(cast(float, point["percent"]) - percent))


def _attribution(result: Result) -> str:
    present: list[Contrast] = [c for c in contrasts(result) if attributed(result, "student", c)]
    if not present:
        return ""
    scatters = columns(
        *(
            plot(
                f"attribution-{contrast}",
                component_captions.attribution_caption(result, contrast),
                f"Attribution against exact patching, {contrast}",
                420,
            )
            for contrast in present
        )
    )
    return f"<h3>How far does a first-order estimate agree?</h3>\n{scatters}"
