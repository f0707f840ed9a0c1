"""The control of DFR: its last layer, fitted alike on as many items that are not balanced.

Whatever a model with such a last layer shares with one that had DFR is not due to the groups.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from distillation.objectives.dfr import DFR, Chosen, Labels, balanced_subsample


@dataclass(frozen=True)
class RefittedHead(DFR):
    """DFR on items as they come; the groups only say how many."""

    def subsample(self, groups: Labels, rng: np.random.Generator) -> Chosen:
        """[chosen] positions of as many items as DFR would take, whatever their groups."""
        size = len(balanced_subsample(groups, rng))
        return rng.choice(len(groups), size=size, replace=False)

    def quality(self, right: Bool[np.ndarray, " item"], groups: Labels) -> float:
        """What the strength is chosen by: the accuracy over all items."""
        return float(right.mean())
