"""Kernel whitening: items are weighted until features decorrelate (arXiv 2210.07547).

1. Features h of the batch and of a moving average of earlier batches; S, their cosine similarities.
   S^(1/2) = S S^(-1/2) holds each item's coordinates in the space of the kernel.
2. Weights v, from 1, take `inner_steps` steps of gradient descent with momentum on

       sum over i != j of Cov(S^(1/2))_ij^2 / strength + sum of softmax(v)^2

   where the covariance is over all rows weighted by the softmax of v and of the stored weights: so
   coordinates are uncorrelated over the weighted items, and no item takes all the weight.
3. The loss is the sum of softmax(v) CE over the batch.

Nothing says which feature is the shortcut: its dependence on all others is what is removed. The
authors' code multiplies the losses by v itself, which may be below 0 and does not sum to 1.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillation.checks import require
from distillation.data import Batch
from distillation.features import last_layer, logits_and_features
from distillation.objectives.objective import Criterion, Materials, Signals, SteppedObjective


@dataclass(frozen=True)
class KernelWhitening(SteppedObjective):
    """Cross-entropy weighted so that the features decorrelate.

    Attributes:
        strength: lambda_p, what the sum of squared covariances is divided by.
        inner_steps: Steps on the weights in each batch.
        learning_rate: Of these steps.
        momentum: Of these steps.
        n_stored: Rows of features that are kept from batch to batch.
        decay: Of their moving average.
    """

    strength: float = 70.0
    inner_steps: int = 20
    learning_rate: float = 6.0
    momentum: float = 0.9
    n_stored: int = 32
    decay: float = 0.9

    def __post_init__(self) -> None:
        require(self.strength > 0, "strength", "above 0", self.strength)
        require(self.inner_steps >= 0, "inner_steps", "at least 0", self.inner_steps)
        require(self.learning_rate > 0, "learning_rate", "above 0", self.learning_rate)
        require(0 <= self.momentum < 1, "momentum", "from 0 to below 1", self.momentum)
        require(self.n_stored >= 1, "n_stored", "at least 1", self.n_stored)
        require(0 <= self.decay < 1, "decay", "from 0 to below 1", self.decay)

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its state, the stored features and their weights."""
        return KernelWhiteningCriterion(self, materials)


class KernelWhiteningCriterion(Criterion):
    """The loss of `KernelWhitening`; the first batch is stored as it is."""

    stored: Tensor
    stored_weights: Tensor
    started: Tensor

    def __init__(self, objective: KernelWhitening, materials: Materials) -> None:
        super().__init__()
        self.objective = objective
        self.classifier = materials.classifier
        width = last_layer(materials.classifier).width
        self.register_buffer("stored", torch.zeros(objective.n_stored, width))
        self.register_buffer("stored_weights", torch.ones(objective.n_stored))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Weighted mean loss of a batch, in nats; moves the stored features."""
        logits, features = logits_and_features(self.classifier, inputs, model)
        features = features.detach()
        if not self.started:
            self._store(features, torch.ones(len(features), device=features.device), 0.0)
        raw = decorrelating_weights(features, self.stored, self.stored_weights, self.objective)
        self._store(features, raw, self.objective.decay)
        losses = F.cross_entropy(logits, signals.labels, reduction="none")
        return (raw.softmax(0) * losses).sum()

    def _store(self, features: Tensor, raw: Tensor, decay: float) -> None:
        rows = torch.arange(self.objective.n_stored, device=features.device) % len(features)
        self.stored = decay * self.stored + (1 - decay) * features[rows]
        self.stored_weights = decay * self.stored_weights + (1 - decay) * raw[rows]
        self.started = torch.ones_like(self.started)


def decorrelating_weights(
    features: Float[Tensor, "batch d_model"],
    stored: Float[Tensor, "row d_model"],
    stored_weights: Float[Tensor, " row"],
    settings: KernelWhitening,
) -> Float[Tensor, " batch"]:
    """Weights v of the items of a batch, before their softmax."""
    coordinates = kernel_coordinates(torch.cat([features, stored]))
    raw = torch.ones(len(features), device=features.device, requires_grad=True)
    optimizer = torch.optim.SGD([raw], lr=settings.learning_rate, momentum=settings.momentum)
    with torch.enable_grad():
        for _ in range(settings.inner_steps):
            optimizer.zero_grad()
            weights = torch.cat([raw, stored_weights]).softmax(0)
            dependence = correlation(coordinates, weights) / settings.strength
            (dependence + raw.softmax(0).square().sum()).backward()
            optimizer.step()
    return raw.detach()


def kernel_coordinates(features: Float[Tensor, "row d_model"]) -> Float[Tensor, "row row"]:
    """S^(1/2) of the cosine similarities S of rows; a row of zeros stays zeros."""
    directions = F.normalize(features, dim=-1)
    values, vectors = torch.linalg.eigh(directions @ directions.T)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def correlation(
    coordinates: Float[Tensor, "row d"], weights: Float[Tensor, " row"]
) -> Float[Tensor, ""]:
    """Sum of the squared covariances between different coordinates; weights sum to 1."""
    centred = coordinates - weights @ coordinates
    covariance = centred.T @ (weights[:, None] * centred)
    return covariance.square().sum() - covariance.diagonal().square().sum()
