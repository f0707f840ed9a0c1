"""Self-debiasing with an annealed bias model (https://arxiv.org/abs/2009.12303).

The bias model needs no knowledge of the shortcut: it is the same network, trained for a short time
on few items (2,000 of MNLI in the paper), which finds the shortcut first. A recipe names it as
`bias_model: {name: model, recipe: ...}`.

An exponent theta goes down linearly while training, so that in the end the model also learns from
what the shallow model knows: reweighting uses w^theta with w = 1 - p_bias(label), the product of
experts uses p_bias^theta, normalised.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillation.checks import require
from distillation.data import Batch
from distillation.losses import product_of_experts_loss
from distillation.objectives.objective import (
    Criterion,
    Materials,
    Need,
    Signals,
    SteppedObjective,
)
from distillation.objectives.reweighting import bias_of_label, weighted_cross_entropy


@dataclass(frozen=True)
class SelfDebiasing(SteppedObjective):
    """A loss that uses the bias model less and less.

    Attributes:
        loss: Which loss uses the bias model.
        last: theta after `anneal_steps` steps and from then on; it starts at 1.
        anneal_steps: None takes the updates of the training; the paper's are 12,272, one epoch of
            MNLI.
    """

    loss: Literal["reweighting", "product-of-experts"] = "reweighting"
    last: float = 0.8
    anneal_steps: int | None = None
    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def __post_init__(self) -> None:
        require(0 <= self.last <= 1, "last", "from 0 to 1", self.last)
        fine = self.anneal_steps is None or self.anneal_steps >= 1
        require(fine, "anneal_steps", "at least 1", self.anneal_steps)

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its state, the number of steps."""
        return SelfDebiasingCriterion(self, materials)


class SelfDebiasingCriterion(Criterion):
    """The loss of `SelfDebiasing`."""

    steps: Tensor

    def __init__(self, objective: SelfDebiasing, materials: Materials) -> None:
        super().__init__()
        self.objective = objective
        self.anneal_steps = objective.anneal_steps or materials.n_steps
        self.logits = materials.classifier.logits
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def theta(self) -> float:
        """The exponent at the present step."""
        gone = min(1.0, self.steps.item() / self.anneal_steps)
        return 1 - gone * (1 - self.objective.last)

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats; counts the step."""
        assert signals.bias is not None, "declared in needs"
        logits, theta = self.logits(inputs, model), self.theta
        self.steps += 1
        if self.objective.loss == "product-of-experts":
            return product_of_experts_loss(
                logits, (theta * signals.bias).log_softmax(-1), signals.labels
            )
        weights = (1 - bias_of_label(signals.bias, signals).exp()) ** theta
        return weighted_cross_entropy(logits, signals, weights)
