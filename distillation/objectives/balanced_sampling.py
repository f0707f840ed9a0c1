"""Balanced sampling of groups (https://arxiv.org/abs/2110.14503).

Every group is drawn equally often, with replacement: `RWG` of the paper. Cross-entropy is
unchanged. It is `resampling` with known groups in place of a bias model.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import LogitObjective, Materials, Need, Signals


@dataclass(frozen=True)
class BalancedSampling(LogitObjective):
    """Cross-entropy on items drawn with weight 1 / size of their group."""

    needs: ClassVar[frozenset[Need]] = frozenset({"groups"})

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"]:
        """1 / size of the item's group."""
        return group_weights(materials.signals)

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)


def group_weights(signals: Signals) -> Float[Tensor, " item"]:
    """1 / size of each item's group."""
    assert signals.groups is not None, "declared in needs"
    return (1 / signals.groups.bincount().float())[signals.groups]
