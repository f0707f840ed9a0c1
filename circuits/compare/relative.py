"""Effects in units of a model's own total range, resampled together with that range.

The range R is the mean margin of A minus that of L, on the same quads as the effects. Where the
data are pairs without quads it is the mean clean minus the mean corrupted margin of the core
pairs. Dividing by the small shortcut difference alone would explode, so it is never done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from behavior.answers import CELL_COLUMNS
from behavior.cues import NO_RESPONSE
from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import Contrast
from behavior.resampling import Resamples, replicate_means
from behavior.statistics import bootstrap_mean
from circuits.compare.asking import RoleAnswers
from circuits.compare.components import ComponentEffects, RoleEffects
from circuits.compare.config import Direction, Role
from circuits.compare.measuring import Draws
from circuits.compare.storage import Json
from patching import Effects
from patching.models.nodes import Node
from patching.summary import summarise

ComponentNumbers = dict[Contrast, Json]
"""By contrast: direction, unit, and the numbers of every node."""

NO_CORE_PAIRS = "there are no core pairs to take the total range from"
TOO_FEW = "too few quads or pairs to know the total range"


@dataclass(frozen=True, slots=True)
class TotalRange:
    """What effects are divided by.

    Attributes:
        rows: [row] range of each quad or pair, in logits.
        resamples: Drawn for these rows.
        reason: Why there is nothing to divide by; None if there is.
    """

    rows: Float[np.ndarray, " row"]
    resamples: Resamples | None
    reason: str | None = None


def total_range(rows: Float[np.ndarray, " row"], resamples: Resamples) -> TotalRange:
    """A range to divide by, or the reason why there is none: its interval reaches zero."""
    _, low, high = bootstrap_mean(rows, resamples)
    if np.isnan(low):
        return TotalRange(rows, resamples, TOO_FEW)
    return TotalRange(rows, resamples, None if low > 0 or high < 0 else NO_RESPONSE)


def pair_ranges(
    answers: Mapping[Role, RoleAnswers], effects: RoleEffects, draws: Draws
) -> dict[Role, TotalRange]:
    """The total range of each model that was patched, on its quads or else on its core pairs."""
    return {role: _role_range(answers[role], found, draws) for role, found in effects.items()}


def summarize_pair(
    effects: RoleEffects, ranges: Mapping[Role, TotalRange], draws: Draws, direction: Direction
) -> dict[Role, ComponentNumbers]:
    """Heads and MLPs of each model that was patched, by contrast."""
    return {
        role: _summarize_components(found, ranges[role], draws, direction)
        for role, found in effects.items()
    }


def summarize_nodes(
    effects: Effects, nodes: Sequence[str], resamples: Resamples, divisor: TotalRange
) -> Json:
    """Mean effect of each node: share of the total range, raw logits, p and q.

    p is of sign flips within units, q controls the false-discovery rate over these nodes.
    """
    columns = [effects.nodes.index(node) for node in nodes]
    values = effects.values[:, columns]
    summary = summarise(values, tuple(nodes), effects.units, effects.templates, resamples)
    drawn = resamples.over(effects.units)
    shares = relative_means(values.numpy().astype(np.float64), drawn, divisor)
    return {
        node: {
            **shares[i].to_json(),
            "p": float(summary.p[i]),
            "q": float(summary.q[i]),
            "logits": Estimate.of(
                float(summary.mean[i]), float(summary.low[i]), float(summary.high[i]), summary.n
            ).to_json(),
        }
        for i, node in enumerate(nodes)
    }


def relative_means(
    values: Float[np.ndarray, "pair node"], drawn: Resamples, divisor: TotalRange
) -> list[Estimate]:
    """Mean of each column over the mean range, numerator and denominator resampled together."""
    n = len(np.unique(drawn.rows))
    if divisor.reason is not None or divisor.resamples is None:
        reason = divisor.reason or NO_CORE_PAIRS
        return [Estimate.null(reason, n) for _ in range(values.shape[1])]
    ratios = _means(values, drawn) / _means(divisor.rows[:, None], divisor.resamples)
    return [estimate_replicates(column, n) for column in ratios.T]


def _means(
    values: Float[np.ndarray, "row k"], drawn: Resamples
) -> Float[np.ndarray, "replicate k"]:
    """Mean of the data (first) and of every resample."""
    sizes = drawn.totals(np.ones_like(values))
    return replicate_means(drawn.totals(values), sizes, drawn)


def _role_range(
    answers: RoleAnswers, effects: Mapping[Contrast, ComponentEffects], draws: Draws
) -> TotalRange:
    """The total range of one model, on its quads or else on its core pairs."""
    if answers.quads is not None and draws.units is not None:
        margins = answers.quads.margins
        rows = margins[:, CELL_COLUMNS["A"]] - margins[:, CELL_COLUMNS["L"]]
        return total_range(rows, draws.units.over(answers.quads.units))
    if "core" not in effects or draws.units is None:
        return TotalRange(np.zeros(0), draws.units, NO_CORE_PAIRS)
    core = effects["core"].nodes
    rows = (core.clean - core.corrupted).double().numpy()
    return total_range(rows, draws.units.over(core.units))


def _summarize_components(
    effects: Mapping[Contrast, ComponentEffects],
    divisor: TotalRange,
    draws: Draws,
    direction: Direction,
) -> ComponentNumbers:
    """Heads and MLPs of one model, by contrast: direction, unit and every node's numbers."""
    summarized: ComponentNumbers = {}
    for contrast, found in effects.items():
        if draws.units is not None:
            nodes = [node for node in found.nodes.nodes if Node.parse(node).kind != "heads"]
            summarized[contrast] = {
                "direction": direction,
                "unit": "share of the total range",
                "nodes": summarize_nodes(found.nodes, nodes, draws.units, divisor),
            }
    return summarized
