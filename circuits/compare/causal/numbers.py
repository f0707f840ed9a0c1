"""Puts what interventions showed under the names of `result.json`."""

import numpy as np

from circuits.compare.causal.result import Interventions
from circuits.compare.storage import Arrays, Json, null

NO_NODES = "there was no node to test"


def describe_alignment(found: Interventions) -> Json:
    """`alignment` and `diff`."""
    if found.alignment is None:
        return {
            "alignment": {"level": None, "null": None, "reason": found.reason},
            "diff": {"nodes": [], "reason": found.reason},
        }
    return {
        "alignment": {
            **found.alignment.to_json(),
            "basis": None if found.basis is None else found.basis.to_json(),
        },
        "diff": {
            "nodes": [change.to_json() for change in found.changes],
            "distances": found.distances,
            "units": list(found.tested_on),
            **({"twins": _diff_twins(found)} if found.diff_twins else {}),
            **({} if found.changes else {"reason": found.alignment.reason}),
        },
    }


def describe_tests(found: Interventions) -> Json:
    """`tests.removal`, `tests.necessity`, `tests.transplant` and the halves."""
    missing = null(found.reason or found.no_loss or NO_NODES)
    return {
        "removal": missing if found.removal is None else found.removal.to_json(),
        "necessity": (
            null(found.reason or NO_NODES) if found.necessity is None else found.necessity.to_json()
        ),
        "transplant": _transplant(found),
        "chosen_on": list(found.chosen_on),
        "tested_on": list(found.tested_on),
        "run_on": list(found.run_on),
    }


def intervention_arrays(found: Interventions) -> Arrays:
    """What the numbers of `alignment`, `diff` and `tests` are made of, as far as it is not effects.

    `tests.removal.margins` and `tests.necessity.margins` [set, quad, cell], the chosen set first;
    `tests.transplant.margins` [node, donor, quad, cell] and `tests.transplant.along` [node, quad,
    cell]; quads are those of `tests.run_on`, margins in logits, label minus foil.
    `alignment.<pair>` [head, head] similarities of teacher and student (`own`), of its kinds, and
    of each null; `alignment.parts.<pair>` [left out, part, head, head] those that matches are
    crossed between. `alignment.basis` [row, row] cosines of streams. `diff.moved`, `diff.spread`
    and `diff.row` [node, input], `diff.tokens` [input] are what distances are made of.
    """
    arrays: dict[str, np.ndarray | None] = {}
    if found.removal is not None:
        arrays["tests.removal.margins"] = found.removal.margins
    if found.necessity is not None:
        arrays["tests.necessity.margins"] = found.necessity.margins
    if found.transplants:
        for name in ("margins", "along"):
            stacked = [getattr(each, name) for each in found.transplants]
            arrays[f"tests.transplant.{name}"] = np.stack(stacked)
    if found.basis is not None:
        arrays["alignment.basis"] = found.basis.cosines
    if found.deviations is not None:
        for name in ("moved", "spread", "row", "tokens"):
            arrays[f"diff.{name}"] = getattr(found.deviations, name)
    if found.alignment is not None:
        arrays |= found.alignment.tables()
    return {name: a.astype(np.float32) for name, a in arrays.items() if a is not None and a.size}


def _diff_twins(found: Interventions) -> list[Json]:
    return [
        {"model": name, "used": not reason, **({"reason": reason} if reason else {})}
        for name, reason in found.diff_twins.items()
    ]


def _transplant(found: Interventions) -> Json:
    if found.transplants:
        return {"nodes": [each.to_json() for each in found.transplants]}
    reason = found.reason or found.no_loss
    if not reason and found.basis is not None:
        reason = found.basis.reason
    return null(reason or NO_NODES)
