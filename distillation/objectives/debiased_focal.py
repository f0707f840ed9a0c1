"""Debiased focal loss (https://arxiv.org/abs/1909.06321, section 2.2.3).

The focal loss with the bias model's probability in place of the model's own: what the bias model
gets right hardly counts, and the sharper so the larger gamma is. The authors train the bias model
jointly, on features of the model; here it is fitted before, as for the other objectives.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.checks import require
from distillation.objectives.objective import LogitObjective, Need, Signals
from distillation.objectives.reweighting import bias_of_label


@dataclass(frozen=True)
class DebiasedFocalLoss(LogitObjective):
    """Mean over the batch of (1 - p_bias(label))^gamma times the cross-entropy.

    Attributes:
        gamma: 0 is cross-entropy, 1 is reweighting without its normalisation.
    """

    gamma: float = 2.0
    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def __post_init__(self) -> None:
        require(self.gamma >= 0, "gamma", "at least 0", self.gamma)

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        assert signals.bias is not None, "declared in needs"
        losses = F.cross_entropy(logits, signals.labels, reduction="none")
        weights = (1 - bias_of_label(signals.bias, signals).exp()) ** self.gamma
        return (weights * losses).mean()
