"""Generalised cross-entropy (https://arxiv.org/abs/1805.07836): trains a network to be biased.

Its gradient is p(label)^q times that of the cross-entropy, so easy items, which the shortcut gets
right, count more and more. It is no debiasing: it makes the biased networks of others.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from distillation.checks import require
from distillation.objectives.objective import LogitObjective, Signals


@dataclass(frozen=True)
class GeneralisedCrossEntropy(LogitObjective):
    """Mean over the batch of (1 - p(label)^q) / q.

    Attributes:
        q: Towards 0 it is cross-entropy; 1 is one minus the probability.
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        require(0 < self.q <= 1, "q", "above 0 and at most 1", self.q)

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch."""
        return generalised_cross_entropy(logits, signals, self.q).mean()


def generalised_cross_entropy(
    logits: Float[Tensor, "batch n_classes"], signals: Signals, q: float
) -> Float[Tensor, " batch"]:
    """(1 - p(label)^q) / q of each item."""
    log_p = logits.log_softmax(-1).gather(-1, signals.labels[:, None]).squeeze(-1)
    return (1 - (q * log_p).exp()) / q
