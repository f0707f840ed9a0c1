"""How much each cue decides: the factorial effects of core and shortcut on a model's answers.

With cell means m of the probability of the label against the foil, or of the margin:

    core_effect      c = ((m_A - m_C) + (m_N - m_L)) / 2
    shortcut_effect  s = ((m_A - m_N) + (m_C - m_L)) / 2
    interaction      i = (m_A - m_C) - (m_N - m_L)
    mean_margin      mu = (m_A + m_N + m_C + m_L) / 4
    total_range      R = m_A - m_L = c + s
    spurious_share   s / R: 0 = only the core decides, 1 = only the shortcut

The share is null where the interval of R reaches zero. All means are over the same quads, so
c + s = R, and m_C = mu - c/2 + s/2 - i/4, hold exactly.
"""

import numpy as np
from jaxtyping import Float

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.estimates import Estimate, estimate_replicates
from behavior.resampling import Resamples, replicate_means
from behavior.statistics import estimate_means

NO_RESPONSE = "the model does not respond to either cue"
EFFECTS: tuple[str, ...] = (
    "core_effect",
    "shortcut_effect",
    "interaction",
    "mean_margin",
    "total_range",
)

_PROBABILITY_BOUNDS = np.array([[-1.0, -1.0, -2.0, 0.0, -1.0], [1.0, 1.0, 2.0, 1.0, 1.0]])


def measure_cues(answers: QuadAnswers, resamples: Resamples) -> dict[str, Estimate]:
    """Effects and share in probability, and in logits with the suffix `_logits`."""
    probability = _measure(answers.label_probabilities, resamples, _PROBABILITY_BOUNDS)
    logits = _measure(answers.margins, resamples, None)
    return probability | {f"{name}_logits": estimate for name, estimate in logits.items()}


def replicate_cues(
    values: Float[np.ndarray, "quad cell"], resamples: Resamples
) -> dict[str, Float[np.ndarray, " replicate"]]:
    """Effects and share on the data (first) and on each resample; a share over zero is NaN."""
    sizes = resamples.totals(np.ones_like(values))
    effects = cue_effects(replicate_means(resamples.totals(values), sizes, resamples))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = effects["shortcut_effect"] / effects["total_range"]
    return effects | {"spurious_share": np.where(np.isfinite(share), share, np.nan)}


def cue_effects(
    cells: Float[np.ndarray, "*stat cell"],
) -> dict[str, Float[np.ndarray, "*stat"]]:
    """The five effects of cell values whose last axis is in the order of `CELLS`."""
    label_cues, core_alone, shortcut_alone, foil_cues = (
        cells[..., CELL_COLUMNS[cell]] for cell in ("A", "N", "C", "L")
    )
    with_shortcut, without = label_cues - shortcut_alone, core_alone - foil_cues
    with_core, against_core = label_cues - core_alone, shortcut_alone - foil_cues
    return {
        "core_effect": (with_shortcut + without) / 2,
        "shortcut_effect": (with_core + against_core) / 2,
        "interaction": with_shortcut - without,
        "mean_margin": cells.mean(-1),
        "total_range": label_cues - foil_cues,
    }


def responds(values: Float[np.ndarray, "quad cell"], resamples: Resamples) -> bool:
    """Whether the interval of the total range excludes zero."""
    total_range = cue_effects(values)["total_range"][:, None]
    return estimate_means(total_range, resamples)[0].excludes_zero


def _measure(
    values: Float[np.ndarray, "quad cell"],
    resamples: Resamples,
    bounds: Float[np.ndarray, "2 effect"] | None,
) -> dict[str, Estimate]:
    columns = np.stack([cue_effects(values)[name] for name in EFFECTS], axis=1)
    measures = dict(zip(EFFECTS, estimate_means(columns, resamples, bounds=bounds), strict=True))
    share = replicate_cues(values, resamples)["spurious_share"]
    total_range = measures["total_range"]
    if not total_range.excludes_zero:
        share[0] = np.nan
    measures["spurious_share"] = estimate_replicates(share, total_range.n, undefined=NO_RESPONSE)
    return measures
