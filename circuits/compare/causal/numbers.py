"""Puts what interventions showed under the names of `result.json`."""

from circuits.compare.causal.result import Interventions
from circuits.compare.storage import Json, null

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
            "distances": dict(found.distances),
            "units": list(found.tested_on),
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
    }


def _transplant(found: Interventions) -> Json:
    if found.transplants:
        return {"nodes": [each.to_json() for each in found.transplants]}
    reason = found.reason or found.no_loss
    if not reason and found.basis is not None:
        reason = found.basis.reason
    return null(reason or NO_NODES)
