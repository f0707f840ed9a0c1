"""The stage profile: what can be said of each model at each relative depth.

Stages are the embedding and each point after an attention and after an MLP (after a block of a
ResNet), placed by relative depth over the rows with the ends on the ends, so that models of any
depth can be laid over each other. This version measures the effect of all heads of a row together,
and how much of it moves with their patterns or their values alone, which a family without
attention does not have; readability of core and shortcut stays null.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from behavior.estimates import Estimate
from behavior.examples import Contrast
from behavior.resampling import Resamples
from behavior.statistics import estimate_means
from circuits.compare.components import ComponentEffects, RoleEffects
from circuits.compare.config import Role
from circuits.compare.measuring import Draws
from circuits.compare.relative import TotalRange, relative_means
from circuits.compare.storage import Json, null
from circuits.compare.wording import NO_ATTENTION

LATER = "measured from a later version"
LOGITS = "_logits"
READABILITY = ("core_AC", "core_NL", "transfer", "shortcut")


def attention_depth(row: int, n_rows: int) -> float:
    """Relative depth of the point after a row's heads: 0 is the embedding, 1 the end."""
    return (2 * row + 1) / (2 * n_rows)


def stage_rows(effects: RoleEffects, ranges: Mapping[Role, TotalRange], draws: Draws) -> list[Json]:
    """An entry for each row of heads of each model that was patched."""
    stages: list[Json] = []
    for role, by_contrast in effects.items():
        if draws.units is None or not by_contrast:
            continue
        numbers: dict[Contrast, dict[str, list[Estimate]]] = {
            contrast: _row_numbers(found, ranges[role], draws.units)
            for contrast, found in by_contrast.items()
        }
        names = next(iter(by_contrast.values())).nodes.rows
        stages += [_stage(role, i, names, numbers) for i in range(len(names))]
    return stages


def _stage(
    role: Role,
    row: int,
    names: Sequence[str],
    numbers: Mapping[Contrast, Mapping[str, list[Estimate]]],
) -> Json:
    stage: Json = {
        "model": role,
        "stage": names[row],
        "depth": attention_depth(row, len(names)),
        **{name: null(LATER) for name in READABILITY},
    }
    for contrast, parts in numbers.items():
        for suffix, estimates in parts.items():
            stage[f"layer_{contrast}{suffix}"] = estimates[row].to_json()
    return stage


def _row_numbers(
    effects: ComponentEffects, divisor: TotalRange, draws: Resamples
) -> dict[str, list[Estimate]]:
    drawn = draws.over(effects.nodes.units)
    parts = {"": effects.nodes, "_patterns": effects.patterns, "_values": effects.values}
    found: dict[str, list[Estimate]] = {}
    for suffix, part in parts.items():
        if part is None:
            missing = [Estimate.null(NO_ATTENTION)] * len(effects.nodes.rows)
            found[suffix] = found[f"{suffix}{LOGITS}"] = missing
            continue
        values = part.layers.numpy().astype(np.float64)
        found[suffix] = relative_means(values, drawn, divisor)
        found[f"{suffix}{LOGITS}"] = estimate_means(values, drawn)
    return found
