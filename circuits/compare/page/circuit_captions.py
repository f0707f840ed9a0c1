"""The sentences that read the figures of circuits, made from the numbers that they show."""

from collections.abc import Mapping
from typing import cast

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.figures.both_circuits import ribbons
from circuits.compare.figures.edges import circuit_edges
from circuits.compare.figures.nulls import best_null
from circuits.compare.reading import (
    SHARE,
    branch,
    circuit_contrasts,
    direct_contrasts,
    direct_estimates,
    effect_unit,
    estimate,
    listing,
    pair,
    text,
    units,
)
from circuits.compare.wording import ROLE_NAMES, interval, percent

Result = Mapping[str, object]


def circuits_summary(result: Result) -> str:
    """What was done, before any figure."""
    contrast = circuit_contrasts(result, "student")[0]
    stored = branch(result, "models", "student", "circuits", contrast)
    n = branch(stored, "n")
    return (
        f"An edge is what one head, MLP or embedding writes as another one reads it. Edges were "
        f"scored by {text(stored, 'method')} on {n.get('chosen')} pairs of each contrast; circuits "
        f"of the strongest edges were then run alone, live, on {n.get('tested')} pairs of other "
        f"{units(result)}, with the corrupted run on every edge left out. A circuit is enough if "
        "f is near 1; it is one sufficient set of edges, and others may do as well."
    )


def faithfulness_caption(result: Result, contrast: Contrast) -> str:
    """The chosen circuit of each model, random edges, and what the rest does alone."""
    said = " ".join(
        _chosen(result, role, contrast)
        for role in pair(result)
        if contrast in circuit_contrasts(result, role)
    )
    return (
        f"{said} The size was read off on the {units(result)} that tested it. f = 1: the circuit "
        "alone answers like the whole model; f = 0: like the corrupted run. Bars: 95 % intervals."
    )


def circuit_caption(result: Result, role: Role) -> str:
    """How many edges are drawn, of how many."""
    parts: list[str] = []
    for contrast in circuit_contrasts(result, role):
        circuit = branch(result, "models", role, "circuits", contrast, "circuit")
        found = estimate(circuit, "faithfulness")
        drawn, connected = len(listing(circuit, "edges")), circuit.get("n_connected")
        strongest = "the" if drawn == connected else f"the {drawn} strongest of"
        parts.append(
            f"{contrast}: none, because {found.reason}"
            if found.value is None
            else f"{contrast}: {strongest} {connected} edges that connect input and logits, among "
            f"{circuit.get('n_edges')} chosen"
        )
    return (
        f"{_capital('; '.join(parts))}. Red carries the contrast, blue works against it. Solid: "
        "core, dashed: shortcut. Wider is larger, within each contrast; q, k and v of a head bend "
        "by unequal amounts, q least. The dot of an edge opens its box."
    )


def both_caption(result: Result) -> str:
    """What the strongest edges of each model end in, and what the ribbons are, or why none are."""
    said = " ".join(_strongest_edge(result, role) for role in pair(result))
    joined = ribbons(result)
    return (
        f"{said} Solid: core, dashed: shortcut; red carries the contrast, blue works against it. "
        f"{_joined(len(joined)) if joined else _not_joined(result)}"
    )


def direct_caption(result: Result, role: Role) -> str:
    """The strongest writer, and what the figure is not."""
    said = " ".join(_strongest(result, role, c) for c in direct_contrasts(result, role))
    return (
        f"{said} Direct paths only: what each writes where the classifier reads; over all writers "
        "it adds up to the whole change of the margin. A node that works through others has "
        "nothing here, so none may be called unimportant from it."
    )


def _strongest_edge(result: Result, role: Role) -> str:
    best = [
        f"{edge.writer} to {edge.name.partition('->')[2]} ({edge.contrast})"
        for edge in circuit_edges(result, role)
        if edge.rank == 1
    ]
    return f"Strongest in the {role}: {' and '.join(best)}."


def _joined(n: int) -> str:
    heads = "head" if n == 1 else "heads"
    return f"Ribbons join {n} matched {heads} to their partners, wider where more similar."


def _not_joined(result: Result) -> str:
    null, own = best_null(result), estimate(result, "alignment", "null", "own")
    if null is None or own.value is None:
        return "No ribbons: which heads belong together was not asked."
    return (
        f"No ribbons join the two, because their heads cannot be matched: best matches have a "
        f"similarity of {interval(own)}, those of the best null, {null[0]}, {interval(null[1])}."
    )


def _chosen(result: Result, role: Role, contrast: Contrast) -> str:
    stored = branch(result, "models", role, "circuits", contrast)
    circuit = branch(stored, "circuit")
    found, random, rest = (
        estimate(circuit, name) for name in ("faithfulness", "random", "complement")
    )
    name = _capital(ROLE_NAMES[role])
    if found.value is None:
        return f"{name}: f is not known ({found.reason})."
    size = cast(float, circuit["percent"])
    reached = "" if circuit.get("reached") else " (no size below 100 % reaches .9)"
    return (
        f"{name}: {circuit['n_edges']} of {stored['n_edges']} edges ({size:.0f} %) have f = "
        f"{interval(found)}{reached}; as many random ones {interval(random)}, all others alone "
        f"{interval(rest)}; CMD {interval(estimate(stored, 'cmd'))}, random "
        f"{interval(estimate(stored, 'random_cmd'))}."
    )


def _strongest(result: Result, role: Role, contrast: Contrast) -> str:
    nodes = direct_estimates(result, role, contrast)
    best = max(nodes, key=lambda name: abs(nodes[name].value or 0.0))
    return f"{_capital(contrast)}: {best} has the largest, {_amount(result, nodes[best])}."


def _amount(result: Result, found: Estimate) -> str:
    if found.value is None:
        return f"not known ({found.reason})"
    if effect_unit(result) == SHARE:
        return f"{percent(found)} of the total range"
    return f"{interval(found)} logits"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
