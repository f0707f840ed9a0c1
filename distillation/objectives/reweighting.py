"""Debiasing by example reweighting (https://arxiv.org/abs/1909.03683, section 3.2).

What the bias model already gets right counts less: w = 1 - p_bias(label). The mean is weighted,
so that a batch of easy items takes as large a step as one of hard items.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import LogitObjective, Need, Signals


@dataclass(frozen=True)
class Reweighting(LogitObjective):
    """Cross-entropy weighted by 1 - p_bias(label)."""

    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Weighted mean cross-entropy, sum_i w_i CE_i / sum_i w_i, in nats."""
        assert signals.bias is not None, "declared in needs"
        probability = bias_of_label(signals.bias, signals).exp()
        return weighted_cross_entropy(logits, signals, 1 - probability)


def bias_of_label(bias: Float[Tensor, "batch n_classes"], signals: Signals) -> Tensor:
    """[batch] log-probability that a bias model gives to the label."""
    return bias.gather(-1, signals.labels[:, None]).squeeze(-1)


def weighted_cross_entropy(
    logits: Float[Tensor, "batch n_classes"], signals: Signals, weights: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """sum_i w_i CE_i / sum_i w_i, in nats; 0 where all weights are."""
    losses = F.cross_entropy(logits, signals.labels, reduction="none")
    smallest = 1e-12
    return (weights * losses).sum() / weights.sum().clamp_min(smallest)
