"""The part of the page on examples: where the student fails, what its heads do there, templates."""

from collections.abc import Mapping, Sequence
from typing import cast

from circuits.compare.config import Role
from circuits.compare.page.attention import attention_html
from circuits.compare.page.head_examples import case_id
from circuits.compare.page.markup import escape, more, paragraph, prose, section
from circuits.compare.page.pictures import picture
from circuits.compare.page.templates_table import templates_table
from circuits.compare.reading import branch, listing, pair
from circuits.compare.storage import Json
from circuits.compare.wording import number

Result = Mapping[str, object]

TITLE = "Examples on which the student fails and the teacher does not"


def examples_section(result: Result) -> str:
    """The surest failure of each cell or group, the others folded, and the table of templates."""
    failures = listing(result, "failures")
    templates = templates_table(result)
    if not failures:
        return section("examples", "By template", templates) if templates else ""
    shown, others = _first_of_each(failures)
    cards = "".join(_card(result, each, failures.index(each)) for each in shown)
    rest = "".join(_card(result, each, failures.index(each)) for each in others)
    return section(
        "examples",
        TITLE,
        paragraph(_summary(result, failures)),
        f'<div class="columns cases">{cards}</div>',
        more(f"{len(others)} more", f'<div class="columns cases">{rest}</div>') if others else "",
        f"<h3>By template</h3>\n{templates}" if templates else "",
    )


def _first_of_each(failures: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """The first failure of each place, and the others; both in their order."""
    seen: set[str] = set()
    shown: list[Json] = []
    others: list[Json] = []
    for failure in failures:
        place = _place(failure)
        (others if place in seen else shown).append(failure)
        seen.add(place)
    return shown, others


def _summary(result: Result, failures: Sequence[Json]) -> str:
    where = "cell, each quad once" if "cell" in failures[0] else "group"
    said = f"The surest failures of each {where}."
    if any(branch(failure, "heads", "student") for failure in failures):
        said += (
            " Effects are those of this one pair, so they have no interval: in the order of their "
            "size, as shares of the model's own total range"
            f"{'' if _has_shares(failures) else ' where it has one, else in logits'}."
        )
    if any(branch(failure, "attention", role) for failure in failures for role in pair(result)):
        said += (
            " Shaded: where the strongest of them looks, from the position at which it writes most "
            "differently when the contrast is turned; numbers are percent of its attention."
        )
    return said


def _has_shares(failures: Sequence[Json]) -> bool:
    return all(
        head.get("share") is not None
        for failure in failures
        for role in ("teacher", "student")
        for contrast in branch(failure, "heads", role)
        for head in listing(failure, "heads", role, contrast)
    )


def _card(result: Result, failure: Json, number_of: int) -> str:
    where = "cell" if "cell" in failure else "group"
    template = f" &middot; {escape(failure['template'])}" if failure.get("template") else ""
    answers = "".join(_answer(failure, role) for role in pair(result))
    looks = "".join(_heads(failure, role) for role in pair(result))
    return (
        f'<article class="case" id="{case_id(number_of)}"><p class="about">{where} '
        f"<b>{escape(_place(failure))}</b>{template} &middot; truth "
        f"<b>{escape(failure['truth'])}</b></p>"
        f'{_input(failure)}<ul class="answers">{answers}</ul>{looks}</article>'
    )


def _place(failure: Mapping[str, object]) -> str:
    return str(failure.get("cell", failure.get("group", "")))


def _input(failure: Json) -> str:
    stored = branch(failure, "input")
    if "image" in stored:
        where = "cell" if "cell" in failure else "group"
        label = f"{where} {_place(failure)}, truth {failure['truth']}"
        return f'<div class="given">{picture(str(stored["image"]), label)}</div>'
    return "".join(
        f'<p class="given"><small>{name}</small> {escape(stored[name])}</p>'
        for name in ("premise", "text", "hypothesis")
        if name in stored
    )


def _answer(failure: Json, role: Role) -> str:
    """What a model says and how sure it is; of older results only what it gives to the truth."""
    said, truth = branch(failure, "answers", role), float(str(failure[role]))
    if not said:
        return f"<li>{role}: gives {_percent(truth)} to the truth</li>"
    right = said["label"] == failure["truth"]
    beside = "right" if right else f"wrong, gives {_percent(truth)} to the truth"
    return (
        f"<li>{role}: <b>{escape(said['label'])}</b>, {_percent(cast(float, said['confidence']))} "
        f"sure ({beside})</li>"
    )


def _percent(value: float) -> str:
    """No probability is said to be 0 or 100 % that is not."""
    if 0 < value < 0.005:
        return "less than 1&nbsp;%"
    if 0.995 < value < 1:
        return "over 99&nbsp;%"
    return f"{100 * value:.0f}&nbsp;%"


def _heads(failure: Json, role: Role) -> str:
    by_contrast = branch(failure, "heads", role)
    said = "; ".join(
        f"{contrast} {', '.join(_head(head) for head in listing(by_contrast, contrast))}"
        for contrast in by_contrast
    )
    top = f'<p class="top"><b>{role}</b>: {prose(said)}</p>' if said else ""
    stored = branch(failure, "attention", role)
    return top + (attention_html(stored) if stored else "")


def _head(head: Json) -> str:
    share = cast("float | None", head.get("share"))
    if share is not None:
        return f"{head['node']} {number(share)}"
    return f"{head['node']} {number(cast(float, head['logits']))} logits"
