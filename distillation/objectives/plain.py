"""Plain training: cross-entropy on the data as they are, biased where they are biased."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import LogitObjective, Signals


@dataclass(frozen=True)
class Plain(LogitObjective):
    """Cross-entropy with the labels."""

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)
