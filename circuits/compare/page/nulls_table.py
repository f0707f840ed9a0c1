"""What every null run and control said, beside what it is a null of; and what was not measured."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import cast

from circuits.compare.figures.nulls import best_null
from circuits.compare.page.markup import cell_table, more, prose
from circuits.compare.reading import branch, circuit_contrasts, estimate, listing, pair, text
from circuits.compare.storage import Json
from circuits.compare.wording import interval, number

Result = Mapping[str, object]
Row = tuple[str, str, str, str]
"""What was asked, what was found, what its null or its controls gave, and the answer."""

_MOST_REASONS = 20


def nulls_table(result: Result) -> str:
    """One line for each null; empty where nothing had one."""
    rows = [row for make in _ROWS for row in make(result)]
    if not rows:
        return ""
    heads = ("question", "found", "null runs and controls", "so")
    return cell_table(
        "Each finding beside what the same measurement gives where there is nothing to find.",
        heads,
        [tuple(prose(cell) for cell in row) for row in rows],
        stacked=True,
    )


def not_measured(result: Result) -> str:
    """Every reason for a number that is missing, with how many it is missing from."""
    counts = Counter((reason, where) for where in result for reason in _reasons(result[where]))
    if not counts:
        return ""
    rows = [
        (prose(where), prose(reason), f"{n:,}")
        for (reason, where), n in counts.most_common(_MOST_REASONS)
    ]
    table = cell_table("", ("part of the result", "why it is missing", "numbers"), rows)
    return more("What could not be measured, and why", table)


def _swapped(result: Result) -> Iterator[Row]:
    found = branch(result, "tests", "swapped")
    own = found.get("value")
    if own is None:
        return
    low, high, p = (cast(float, found[key]) for key in ("null_low", "null_high", "p"))
    yield (
        "Did teacher and student differ at all?",
        f"mean loss {number(cast(float, own))}",
        f"swapped at random within quads, {found['n_swaps']:,} times: 95 % of the losses lie from "
        f"{number(low)} to {number(high)}",
        f"{'yes' if p <= 0.05 else 'not shown'} (p {_p(p)})",
    )


def _alignment(result: Result) -> Iterator[Row]:
    null = best_null(result)
    if null is None:
        return
    own = estimate(result, "alignment", "null", "own")
    n = len(branch(result, "alignment", "null", "nulls"))
    heads = "matched" if text(result, "alignment", "level") == "heads" else "not matched"
    yield (
        "Do heads correspond?",
        f"similarity of best matches {interval(own)}",
        f"{n} nulls, of which the best is {null[0]}: {interval(null[1])}",
        heads,
    )


def _removal(result: Result) -> Iterator[Row]:
    found = branch(result, "tests", "removal")
    controls = _numbers(found.get("controls"))
    if controls:
        yield (
            "Does a set of heads carry the fault?",
            f"without it {interval(estimate(found, 'restored'))} of the loss comes back",
            f"{len(controls)} random sets of its shape: {_from_to(controls)}",
            f"{'yes' if found.get('removable') else 'not shown'}{_rank(found)}",
        )


def _necessity(result: Result) -> Iterator[Row]:
    found = branch(result, "tests", "necessity")
    controls = _numbers(found.get("controls"))
    if controls:
        yield (
            "Does the teacher need its core heads?",
            f"without them its core effect falls by {interval(estimate(found, 'core'))}",
            f"{len(controls)} random sets of their shape: {_from_to(controls)}",
            f"{'yes' if found.get('necessary') else 'not shown'}{_rank(found)}",
        )


def _transplant(result: Result) -> Iterator[Row]:
    nodes = listing(result, "tests", "transplant", "nodes")
    known = [node for node in nodes if estimate(node, "restored").value is not None]
    if not known:
        return
    best = max(known, key=lambda node: estimate(node, "restored").value or 0.0)
    controls = ", ".join(
        f"{name} {number(cast('float | None', value))}"
        for name, value in branch(best, "controls").items()
    )
    credited = sum(1 for node in known if (estimate(node, "credit").low or 0.0) > 0)
    yield (
        "Does the teacher's node repair the student?",
        f"{best['teacher']} gives back {interval(estimate(best, 'restored'))} of the loss",
        f"in its place: {controls}",
        f"{credited} of {len(known)} nodes beat all their controls",
    )


def _circuits(result: Result) -> Iterator[Row]:
    for role in pair(result):
        for contrast in circuit_contrasts(result, role):
            circuit = branch(result, "models", role, "circuits", contrast, "circuit")
            f, random = (estimate(circuit, name) for name in ("faithfulness", "random"))
            if f.value is None:
                continue
            apart = f.low is not None and random.high is not None and f.low > random.high
            yield (
                f"Is the {contrast} circuit of the {role} more than its size?",
                f"{circuit.get('n_edges')} edges: f = {interval(f)}",
                f"as many random edges: {interval(random)}",
                "yes" if apart else "not shown",
            )


def _untrained(result: Result) -> Iterator[Row]:
    best = {
        kind: max(
            (
                found
                for row in listing(result, "stages")
                if str(row.get("model")).startswith(kind)
                and (found := estimate(row, "core_NL")).value is not None
            ),
            key=lambda found: found.value or 0.0,
            default=None,
        )
        for kind in ("teacher", "untrained")
    }
    teacher, untrained = best["teacher"], best["untrained"]
    if teacher is None or untrained is None:
        return
    apart = (teacher.low or 0.0) > (untrained.high or 1.0)
    yield (
        "Does the core feature become readable by training?",
        f"best stage of the teacher: {interval(teacher)} right",
        f"best stage of untrained nets: {interval(untrained)}",
        "yes" if apart else "not shown",
    )


_ROWS = (_swapped, _untrained, _alignment, _circuits, _removal, _necessity, _transplant)


def _numbers(stored: object) -> list[float]:
    return cast("list[float]", stored) if isinstance(stored, list) else []


def _from_to(values: list[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"


def _rank(found: Json) -> str:
    p = cast("float | None", found.get("p"))
    return "" if p is None else f" (p {_p(p)})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {number(value, 3)}"


def _reasons(stored: object) -> Iterator[str]:
    """Reasons of all missing numbers in a part of the result."""
    if isinstance(stored, dict):
        part = cast(Json, stored)
        if "value" in part and part["value"] is None and part.get("reason"):
            yield str(part["reason"])
        for each in part.values():
            yield from _reasons(each)
    elif isinstance(stored, list):
        for each in cast("list[object]", stored):
            yield from _reasons(each)
