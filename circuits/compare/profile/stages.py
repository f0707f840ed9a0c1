"""The stage profile: what can be said of each model at each relative depth.

Stages are the embedding and each point after an attention and after an MLP (after a block of a
ResNet), placed by relative depth over the rows with the ends on the ends, so that models of any
depth can be laid over each other. At each of them, for every model and for untrained nets of the
same architectures, stands how readable core and shortcut are (`stage_reading`).
At a row of heads of teacher and student stands also the effect of all its heads together, and how
much of it moves with their patterns or their values alone, which a family without attention does
not have.
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
from circuits.compare.profile.stage_reading import StageReadings
from circuits.compare.relative import TotalRange, relative_means
from circuits.compare.storage import Json
from circuits.compare.wording import NO_ATTENTION

LOGITS = "_logits"


def stage_rows(
    effects: RoleEffects,
    ranges: Mapping[Role, TotalRange],
    draws: Draws,
    readings: StageReadings,
) -> list[Json]:
    """An entry for each stage of each model that was read or patched."""
    together = {
        role: _row_effects(by_contrast, ranges[role], draws.units)
        for role, by_contrast in effects.items()
        if draws.units is not None and by_contrast
    }
    by_model: dict[str, dict[str, Json]] = {str(role): found for role, found in together.items()}
    return [
        {
            "model": model,
            "stage": reading.point.name,
            "depth": reading.point.depth,
            **readings.numbers(reading),
            **by_model.get(model, {}).get(reading.point.name, {}),
        }
        for model, found in readings.models.items()
        if readings.measured or model in by_model
        for reading in found
    ]


def _row_effects(
    effects: Mapping[Contrast, ComponentEffects], divisor: TotalRange, draws: Resamples
) -> dict[str, Json]:
    """Effects of each row of heads, by its name."""
    names: Sequence[str] = next(iter(effects.values())).nodes.rows
    rows: dict[str, Json] = {name: {} for name in names}
    for contrast, found in effects.items():
        for suffix, estimates in _row_numbers(found, divisor, draws).items():
            for name, estimate in zip(names, estimates, strict=True):
                rows[name][f"layer_{contrast}{suffix}"] = estimate.to_json()
    return rows


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
