"""First-order attribution beside exact patching: means of each head, and how well they agree."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import Contrast
from behavior.resampling import Resamples, replicate_means
from behavior.statistics import estimate_means
from circuits.compare.components import ComponentEffects, RoleEffects
from circuits.compare.config import Role
from circuits.compare.measuring import Draws
from circuits.compare.relative import TotalRange, relative_means
from circuits.compare.storage import Json

FEWEST_HEADS = 3
TOO_FEW_HEADS = "fewer than three heads give no correlation"
NO_SPREAD = "the effects of all heads are equal"


def summarize_attribution(
    effects: RoleEffects, ranges: Mapping[Role, TotalRange], draws: Draws
) -> dict[Role, dict[Contrast, Json]]:
    """By model and contrast: every head's first-order effect, and its agreement with the exact."""
    if draws.units is None:
        return {}
    drawn = draws.units
    return {
        role: {contrast: _summarize(found, ranges[role], drawn) for contrast, found in each.items()}
        for role, each in effects.items()
    }


def correlate_heads(
    estimated: Float[np.ndarray, "pair head"],
    exact: Float[np.ndarray, "pair head"],
    resamples: Resamples,
) -> Estimate:
    """Pearson correlation over heads of the two mean effects; its interval is over units.

    The heads are all that the model has, so they are not resampled.
    """
    n = len(np.unique(resamples.rows))
    if exact.shape[1] < FEWEST_HEADS:
        return Estimate.null(TOO_FEW_HEADS, n)
    x, y = (_centered(_means(values, resamples)) for values in (estimated, exact))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return estimate_replicates(r, n, bounds=(-1.0, 1.0), undefined=NO_SPREAD)


def _summarize(effects: ComponentEffects, divisor: TotalRange, draws: Resamples) -> Json:
    nodes = effects.attribution.nodes
    drawn = draws.over(effects.attribution.units)
    estimated = effects.attribution.values.numpy().astype(np.float64)
    columns = [effects.nodes.nodes.index(node) for node in nodes]
    exact = effects.nodes.values[:, columns].numpy().astype(np.float64)
    shares = relative_means(estimated, drawn, divisor)
    logits = estimate_means(estimated, drawn)
    return {
        "method": effects.attribution.method,
        "order": "first",
        "backend": "hooks",
        "pearson": correlate_heads(estimated, exact, drawn).to_json(),
        "nodes": {
            node: {**shares[i].to_json(), "logits": logits[i].to_json()}
            for i, node in enumerate(nodes)
        },
    }


def _means(
    values: Float[np.ndarray, "pair head"], drawn: Resamples
) -> Float[np.ndarray, "replicate head"]:
    return replicate_means(drawn.totals(values), drawn.totals(np.ones_like(values)), drawn)


def _centered(means: Float[np.ndarray, "replicate head"]) -> Float[np.ndarray, "replicate head"]:
    return means - means.mean(1, keepdims=True)
