"""The stage profile: what can be said of each model at each relative depth.

Stages are the embedding and each point after an attention and after an MLP, placed by relative
depth with the ends on the ends, so that models of any depth can be laid over each other. This
version measures the effect of all heads of a layer together, and how much of it moves with their
patterns or their values alone; readability of core and shortcut stays null.
"""

from collections.abc import Mapping

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

LATER = "measured from a later version"
LOGITS = "_logits"
READABILITY = ("core_AC", "core_NL", "transfer", "shortcut")


def attention_depth(layer: int, n_layers: int) -> float:
    """Relative depth of the point after a layer's attention: 0 is the embedding, 1 the end."""
    return (2 * layer + 1) / (2 * n_layers)


def stage_rows(effects: RoleEffects, ranges: Mapping[Role, TotalRange], draws: Draws) -> list[Json]:
    """A row for the attention of each layer of each model that was patched."""
    rows: list[Json] = []
    for role, by_contrast in effects.items():
        if draws.units is None or not by_contrast:
            continue
        numbers: dict[Contrast, dict[str, list[Estimate]]] = {
            contrast: _layer_numbers(found, ranges[role], draws.units)
            for contrast, found in by_contrast.items()
        }
        n_layers = max(len(found[""]) for found in numbers.values())
        rows += [_row(role, layer, n_layers, numbers) for layer in range(n_layers)]
    return rows


def _row(
    role: Role,
    layer: int,
    n_layers: int,
    numbers: Mapping[Contrast, Mapping[str, list[Estimate]]],
) -> Json:
    row: Json = {
        "model": role,
        "stage": f"a{layer}",
        "depth": attention_depth(layer, n_layers),
        **{name: null(LATER) for name in READABILITY},
    }
    for contrast, parts in numbers.items():
        for suffix, estimates in parts.items():
            row[f"layer_{contrast}{suffix}"] = estimates[layer].to_json()
    return row


def _layer_numbers(
    effects: ComponentEffects, divisor: TotalRange, draws: Resamples
) -> dict[str, list[Estimate]]:
    drawn = draws.over(effects.nodes.units)
    parts = {"": effects.nodes, "_patterns": effects.patterns, "_values": effects.values}
    found: dict[str, list[Estimate]] = {}
    for suffix, part in parts.items():
        values = part.layers.numpy().astype(np.float64)
        found[suffix] = relative_means(values, drawn, divisor)
        found[f"{suffix}{LOGITS}"] = estimate_means(values, drawn)
    return found
