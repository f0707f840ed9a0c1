"""Debiasing by example reweighting (https://arxiv.org/abs/1909.03683, section 3.2).

What the bias model already gets right counts less: w = 1 - p_bias(label). In the authors' code the
mean of each batch is weighted, sum_i w_i CE_i / sum_i w_i: a batch of easy items alone takes as
large a step as any other, so that hard items count less than their weights say. With few of them
this is much: where 1 % of the items conflict and the bias model is right in .99, they should have
half of the weight and have .31 of it in batches of 64. `normalise: dataset` divides by the mean
weight of all training items instead, which gives them their half.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillation.data import Batch
from distillation.objectives.objective import (
    Criterion,
    LogitObjective,
    Materials,
    Need,
    Signals,
)


@dataclass(frozen=True)
class Reweighting(LogitObjective):
    """Cross-entropy weighted by 1 - p_bias(label).

    Attributes:
        normalise: Whether the weighted sum is divided by the weights of its batch or by the mean
            weight of the training items, times the size of the batch.
    """

    normalise: Literal["batch", "dataset"] = "batch"
    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    @property
    def is_mean(self) -> bool:
        """Not over the weights of a batch: its parts have other ones."""
        return self.normalise == "dataset"

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its divisor."""
        if self.normalise == "batch":
            return super().criterion(materials)
        return _ByDataset(materials)

    def to_json(self) -> dict[str, object]:
        """Nothing by default, as the records of all earlier trainings say."""
        return {} if self.normalise == "batch" else super().to_json()

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Weighted mean cross-entropy of a batch, sum_i w_i CE_i / sum_i w_i, in nats."""
        return weighted_cross_entropy(logits, signals, _weights(signals))


class _ByDataset(Criterion):
    """sum_i w_i CE_i / (n w_mean) over the n items of a batch, in nats."""

    def __init__(self, materials: Materials) -> None:
        super().__init__()
        self.logits = materials.classifier.logits
        self.mean_weight = float(_weights(materials.signals).mean())

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        losses = F.cross_entropy(self.logits(inputs, model), signals.labels, reduction="none")
        return (_weights(signals) * losses).mean() / self.mean_weight


def _weights(signals: Signals) -> Float[Tensor, " item"]:
    assert signals.bias is not None, "declared in needs"
    return 1 - bias_of_label(signals.bias, signals).exp()


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
