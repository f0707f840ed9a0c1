"""Necessity: does the teacher lose the core when the heads that carry it say nothing?

The heads with the largest mean core effect on the quads that choose are ablated together on the
quads that test. They are *necessary* if the core effect c, in probability, falls by more than
`LEAST_FALL` with the lower end of its interval, and by more than under all but a tenth of the
random sets of the same shape. Ablation can say that the core was weakened; it cannot make a model
biased, and what happens to the shortcut effect s is reported beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from behavior.answers import QuadAnswers
from behavior.cues import cue_effects
from behavior.estimates import Estimate
from behavior.resampling import resample_units
from behavior.statistics import estimate_means
from circuits.compare.causal.head_sets import HeadSet, HeadSets, Progress
from circuits.compare.causal.removal import N_CONTROLS, P_VALUE, matched_sets
from circuits.compare.causal.restoring import rank_among

MOST_HEADS = 3
LEAST_FALL = 0.1


@dataclass(frozen=True, slots=True)
class Necessity:
    """The teacher without its core heads.

    Attributes:
        heads: Ablated together.
        core: Fall of the core effect c, in probability.
        shortcut: Fall of the shortcut effect s, in probability.
        controls: [control] fall of c under random sets of the same shape.
        p: Share of controls and it with as large a fall.
        necessary: Whether they count as necessary.
        margins: [set, quad, cell] label minus foil, in logits, without the chosen heads (first)
            and under each control.
    """

    heads: HeadSet
    core: Estimate
    shortcut: Estimate
    controls: tuple[float, ...]
    p: float
    necessary: bool
    margins: Float[np.ndarray, "set quad cell"] | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {
            "heads": list(self.heads),
            "core": self.core.to_json(),
            "shortcut": self.shortcut.to_json(),
            "controls": list(self.controls),
            "p": self.p,
            "necessary": self.necessary,
        }


def measure_necessity(
    testing: HeadSets,
    effects: Mapping[str, float],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Necessity:
    """Ablate the teacher's core heads on the quads that test.

    Args:
        testing: The teacher on the quads that test.
        effects: Mean core effect of each head, on the quads that choose.
        n_resamples: Bootstrap resamples.
        seed: Of them and of the controls.
        progress: Of the runs.
    """
    heads = testing.model.spec.heads
    chosen = _strongest(heads, effects)
    others = matched_sets(heads, chosen, N_CONTROLS, seed)
    whole, without, *controls = testing.answers([(), chosen, *others], progress)
    rows = resample_units(whole.units, whole.templates, n_resamples, seed)
    core, shortcut = estimate_means(_falls(whole, without), rows, bounds=(-2.0, 2.0))
    falls = tuple(float(_falls(whole, other)[:, 0].mean()) for other in controls)
    own = float(_falls(whole, without)[:, 0].mean())
    p = rank_among(own, falls)
    necessary = core.low is not None and core.low > LEAST_FALL and p <= P_VALUE
    margins = np.stack([answers.margins for answers in (without, *controls)])
    return Necessity(chosen, core, shortcut, falls, p, necessary, margins)


def _strongest(heads: tuple[str, ...], effects: Mapping[str, float]) -> HeadSet:
    n = min(MOST_HEADS, max(len(heads) // 4, 1))
    top = sorted(heads, key=lambda name: -effects[name])[:n]
    return tuple(name for name in heads if name in top)


def _falls(whole: QuadAnswers, without: QuadAnswers) -> Float[np.ndarray, "quad 2"]:
    before, after = (cue_effects(a.label_probabilities) for a in (whole, without))
    return np.stack(
        [before[name] - after[name] for name in ("core_effect", "shortcut_effect")], axis=1
    )
