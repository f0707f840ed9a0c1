"""Plain training: cross-entropy on the data as they are, biased where they are biased."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import Need, Signals


@dataclass(frozen=True, slots=True)
class Plain:
    """Cross-entropy with the labels."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def sampling_weights(self, signals: Signals) -> None:
        """All items are visited equally often."""
        return

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)
