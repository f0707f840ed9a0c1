"""Where seed twins stand on the core-shortcut plane: what moves the answers of other seeds."""

from collections.abc import Mapping

import numpy as np

from behavior.cues import measure_cues
from circuits.compare.asking import RoleAnswers
from circuits.compare.measuring import Draws
from circuits.compare.storage import Arrays, Json
from circuits.compare.twins import Twins

_SHOWN = ("core_effect", "shortcut_effect", "spurious_share")


def twin_cues(
    twins: Twins, answers: Mapping[str, RoleAnswers], draws: Draws
) -> dict[str, list[Json]]:
    """`twin_cues` of the result: effects of both cues in each twin, in probability.

    Empty without twins or quads.
    """
    rows: list[Json] = []
    for twin in twins:
        quads = answers[twin.name].quads
        if quads is None or draws.units is None:
            continue
        found = measure_cues(quads, draws.units.over(quads.units))
        effects: Json = {name: found[name].to_json() for name in _SHOWN}
        rows.append({"model": twin.name, "of": twin.of, **effects})
    return {"twin_cues": rows} if rows else {}


def twin_arrays(answers: Mapping[str, RoleAnswers]) -> Arrays:
    """`<twin>.logits.<cell>` [quad, class], as for the roles."""
    return {
        f"{name}.logits.{asked}": logits.numpy().astype(np.float32)
        for name, given in answers.items()
        for asked, logits in given.logits.items()
    }
