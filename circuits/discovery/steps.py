"""Points on the straight way from the corrupted to the clean run, for integrated gradients."""

from typing import Literal, get_args

import torch
from torch import Tensor

from behavior.errors import DataError
from circuits.discovery.edge_runs import BothRuns
from patching.models.nodes import Site

Rule = Literal["midpoint", "left", "right"]
"""Where in each of the equal steps the gradient is taken; `left` is the corrupted side.

The public EAP-IG takes `left` for inputs and `right` for activations; the midpoint has the smallest
error."""

_OFFSETS = {"midpoint": 0.5, "left": 0.0, "right": 1.0}


def shares(steps: int, rule: Rule) -> list[float]:
    """How much of the clean run is in each point.

    Raises:
        DataError: If there are fewer steps than one, or the rule is unknown.
    """
    if steps < 1:
        raise DataError(f"Integrated gradients need at least 1 step; got {steps}.")
    if rule not in get_args(Rule):
        raise DataError(f"Unknown rule {rule!r}; expected 'midpoint', 'left' or 'right'.")
    return [(k + _OFFSETS[rule]) / steps for k in range(steps)]


def between(both: BothRuns, site: Site, share: float) -> Tensor:
    """A site's value on the way from the corrupted (0) to the clean run (1)."""
    return torch.lerp(both.corrupted.cache[site], both.clean.cache[site], share)
