"""Group distributionally robust optimisation (https://arxiv.org/abs/1911.08731).

1. The mean loss of each group in the batch, l_g.
2. q_g becomes q_g exp(eta (l_g + C / sqrt(n_g))), normalised over groups: groups with a high loss
   gain weight. A group that is not in the batch counts with l_g = 0, as in the authors' code.
3. The loss is sum_g q_g l_g.

C / sqrt(n_g), n_g the size of the group in training, allows for the wider gap between training and
test loss of small groups.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillation.checks import require
from distillation.data import Batch
from distillation.objectives.balanced_sampling import group_weights
from distillation.objectives.objective import (
    Criterion,
    Materials,
    Need,
    Signals,
    SteppedObjective,
)


@dataclass(frozen=True)
class GroupDRO(SteppedObjective):
    """Cross-entropy of the groups, weighted towards the worst.

    Attributes:
        eta: Step size of the group weights q.
        adjustment: C, weight of 1 / sqrt(size of the group).
        balanced: Whether all groups are drawn equally often, as in the paper's runs.
    """

    eta: float = 0.01
    adjustment: float = 0.0
    balanced: bool = True
    needs: ClassVar[frozenset[Need]] = frozenset({"groups"})

    def __post_init__(self) -> None:
        require(self.eta > 0, "eta", "above 0", self.eta)
        require(self.adjustment >= 0, "adjustment", "at least 0", self.adjustment)

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"] | None:
        """1 / size of the item's group, if balanced."""
        return group_weights(materials.signals) if self.balanced else None

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its state q, uniform at first."""
        return _GroupDROCriterion(self, materials)


class _GroupDROCriterion(Criterion):
    def __init__(self, objective: GroupDRO, materials: Materials) -> None:
        super().__init__()
        assert materials.signals.groups is not None, "declared in needs"
        self.eta = objective.eta
        self.logits = materials.classifier.logits
        sizes = materials.signals.groups.bincount()
        self.register_buffer("q", torch.full((len(sizes),), 1 / len(sizes)))
        self.register_buffer("margins", objective.adjustment / sizes.sqrt(), persistent=False)

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Loss of a batch, in nats; moves q."""
        assert signals.groups is not None, "declared in needs"
        losses = F.cross_entropy(self.logits(inputs, model), signals.labels, reduction="none")
        q, margins = self.q, self.margins
        counts = signals.groups.bincount(minlength=len(q))
        sums = losses.new_zeros(len(q)).index_add(0, signals.groups, losses)
        means = sums / counts.clamp_min(1)
        raised = q * (self.eta * (means.detach() + margins)).exp()
        self.q = raised / raised.sum()
        return (self.q * means).sum()
