"""Debiasing by resampling: items that the bias model gets wrong are drawn more often.

An item is drawn, with replacement, with probability proportional to 1 / p(label | bias features).
For a binary shortcut this makes label and shortcut independent in what the model sees, so that
the shortcut stops paying. Cross-entropy is unchanged.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import LogitObjective, Materials, Need, Signals


@dataclass(frozen=True)
class Resampling(LogitObjective):
    """Cross-entropy on items drawn with weight 1 / p_bias(label)."""

    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"]:
        """1 / p_bias(label) of each item."""
        signals = materials.signals
        assert signals.bias is not None, "declared in needs"
        return (-signals.bias.gather(-1, signals.labels[:, None]).squeeze(-1)).exp()

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)
