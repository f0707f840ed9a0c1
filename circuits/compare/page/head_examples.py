"""Where one head stands on the failing examples, and where it looks there."""

from collections.abc import Mapping
from typing import cast

from circuits.compare.config import Role
from circuits.compare.page.attention import attention_html
from circuits.compare.page.markup import escape, paragraph, prose
from circuits.compare.reading import branch, listing
from circuits.compare.storage import Json
from circuits.compare.wording import number

Result = Mapping[str, object]


def head_examples(result: Result, role: Role, node: str) -> str:
    """The examples on which a head is among the strongest; empty where nothing is known of heads.

    Where it looks is shown on the first example of each cell.
    """
    failures = listing(result, "failures")
    known = [failure for failure in failures if branch(failure, "heads", role)]
    if not known:
        return ""
    shown: set[str] = set()
    lines: list[str] = []
    for number_of, failure in enumerate(failures):
        places = _places(failure, role, node)
        if not places:
            continue
        cell = str(failure.get("cell", ""))
        looks = "" if cell in shown else _attention(failure, role, node)
        shown.add(cell)
        name = f"{cell} {failure.get('template', '')}".strip()
        lines.append(
            f'<li><a href="#{case_id(number_of)}">{escape(name)}</a>, '
            f"truth {escape(failure['truth'])}: "
            f"{prose('; '.join(places))}{looks}</li>"
        )
    if not lines:
        return paragraph(
            f"On none of the {len(known)} is it among the strongest heads of either contrast."
        )
    said = f"Among the strongest heads on {len(lines)} of {len(known)}; effects on that pair alone."
    return f'{paragraph(said)}<ul class="seen">{"".join(lines)}</ul>'


def case_id(number_of: int) -> str:
    """Of an example in the page, by its place in the result."""
    return f"case-{number_of}"


def attention_of(failure: Json, role: Role, node: str) -> list[Json]:
    """Where a head looks on one example, as `attention` of a failure; the words are shared."""
    first = branch(failure, "attention", role)
    others = [{**first, **each} for each in listing(failure, "more_attention", role)]
    return [each for each in (first, *others) if each.get("node") == node]


def _attention(failure: Json, role: Role, node: str) -> str:
    """Under the contrast on which it is strongest; the first is that one."""
    found = attention_of(failure, role, node)
    return attention_html(found[0]) if found else ""


def _places(failure: Json, role: Role, node: str) -> list[str]:
    """Such as `core 2nd, 0.97`: the place of a head, and its effect on this pair."""
    said: list[str] = []
    for contrast in branch(failure, "heads", role):
        heads = listing(failure, "heads", role, contrast)
        for place, head in enumerate(heads, start=1):
            if head["node"] == node:
                share = cast("float | None", head.get("share"))
                size = (
                    f"{number(share)} of its range"
                    if share is not None
                    else f"{number(cast(float, head['logits']))} logits"
                )
                said.append(f"{contrast} no. {place} with {size}")
    return said
