"""Puts what was found of circuits under the names of `result.json`, and its arrays."""

from collections.abc import Mapping

import numpy as np

from behavior.resampling import Resamples
from behavior.statistics import estimate_means
from circuits.circuit import Circuit
from circuits.compare.config import Role
from circuits.compare.discovering import TOO_FEW, ContrastCircuits, ModelCircuits, RoleCircuits
from circuits.compare.measuring import Draws
from circuits.compare.relative import TotalRange, relative_means
from circuits.compare.storage import Arrays, Json
from circuits.discovery.scores import EdgeScores
from circuits.discovery.search import ENOUGH
from circuits.faithfulness_result import Faithfulness, SizePoint
from circuits.selection import pruned, top_k

MOST_DRAWN = 200
"""Edges of a circuit that are stored by name and drawn; the scores of all are in the arrays."""


def circuit_branches(
    found: RoleCircuits, ranges: Mapping[Role, TotalRange], draws: Draws
) -> dict[Role, Json]:
    """`circuits` and `direct` by contrast, and the names of all `edges`, of each model."""
    if draws.units is None:
        return {}
    drawn = draws.units
    return {role: _describe(each, ranges[role], drawn) for role, each in found.items()}


def circuit_arrays(found: RoleCircuits) -> Arrays:
    """Mean scores of edges, direct effects, and the margins of circuits that were run alone.

    `<role>.edges.<contrast>` [edge], `<role>.direct.<contrast>` [pair, writer], and
    `<role>.circuits.<contrast>.<what>`, rows as the pairs of the tested units.
    """
    arrays: Arrays = {}
    for role, model in found.items():
        for contrast, each in model.contrasts.items():
            arrays[f"{role}.direct.{contrast}"] = each.direct.values.cpu().numpy()
            if each.scores is not None:
                arrays[f"{role}.edges.{contrast}"] = each.scores.mean.cpu().numpy()
            if each.measured is not None:
                arrays |= {
                    f"{role}.circuits.{contrast}.{what}": margins.cpu().numpy()
                    for what, margins in each.measured.margins.items()
                }
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def chosen_size(measured: Faithfulness) -> SizePoint:
    """The smallest circuit on the axis with f of at least .9, else the largest below 100 %.

    Where f is not known, because the model does not respond, no edge of it is stored.
    """
    below = [point for point in measured.points if point.n_edges < measured.points[-1].n_edges]
    smallest = measured.smallest(ENOUGH)
    if smallest is not None and (smallest in below or not below):
        return smallest
    return below[-1] if below else measured.points[-1]


def _describe(model: ModelCircuits, divisor: TotalRange, draws: Resamples) -> Json:
    found = model.contrasts
    return {
        "circuits": {
            contrast: _describe_circuit(model.method, each, draws)
            for contrast, each in found.items()
        },
        "direct": {
            contrast: _describe_direct(each, divisor, draws) for contrast, each in found.items()
        },
        "edges": list(model.edges),
    }


def _describe_circuit(method: str, found: ContrastCircuits, draws: Resamples) -> Json:
    if found.scores is None or found.measured is None:
        return {"method": method, "value": None, "reason": TOO_FEW, "n": 0}
    scores, measured = found.scores, found.measured
    size = chosen_size(measured)
    kept = top_k(scores, size.n_edges)
    circuit = Circuit.choose(scores, pruned(scores.edges, kept), selection="strongest by size")
    areas = ("clean", "corrupted", "cpr", "cmd", "random_cpr", "random_cmd")
    return {
        "method": method,
        "settings": {**dict(measured.settings), "by": measured.by},
        "backend": "hooks",
        "n": {"chosen": len(scores), "tested": found.n_tested},
        "chosen_units": list(measured.chosen_units),
        "tested_units": list(measured.tested_units),
        "held_out": measured.held_out,
        "n_edges": len(scores.edges),
        "circuit": {
            **size.to_json(),
            "least": ENOUGH,
            "reached": (size.faithfulness.value or 0.0) >= ENOUGH,
            "unit": scores.unit,
            "edges": [] if size.faithfulness.value is None else _strongest(circuit, scores, draws),
        },
        "completeness": size.complement.to_json(),
        "faithfulness": [point.to_json() for point in measured.points],
        **{name: getattr(measured, name).to_json() for name in areas},
    }


def _strongest(circuit: Circuit, scores: EdgeScores, draws: Resamples) -> list[Json]:
    """At most `MOST_DRAWN` edges by size, in the order of the graph, with intervals over units.

    Edges that were chosen together have one score for all pairs, so no interval.
    """
    strength = np.abs(np.array(circuit.scores))
    order = sorted(np.argsort(-strength, kind="stable")[:MOST_DRAWN])
    stored: list[Json] = [{"edge": circuit.edges[i], "score": circuit.scores[i]} for i in order]
    if scores.level == "joint":
        return stored
    places = [scores.edges.index(circuit.edges[i]) for i in order]
    values = scores.values[:, places].double().cpu().numpy()
    found = estimate_means(values, draws.over(scores.units))
    return [
        {**edge, "low": each.low, "high": each.high, "n": each.n}
        for edge, each in zip(stored, found, strict=True)
    ]


def _describe_direct(found: ContrastCircuits, divisor: TotalRange, draws: Resamples) -> Json:
    direct = found.direct
    drawn = draws.over(direct.units)
    values = direct.values.double().cpu().numpy()
    shares, logits = relative_means(values, drawn, divisor), estimate_means(values, drawn)
    return {
        "method": direct.method,
        "backend": "hooks",
        "unit": "share of the total range",
        "nodes": {
            node: {**shares[i].to_json(), "logits": logits[i].to_json()}
            for i, node in enumerate(direct.nodes)
        },
    }
