"""The learned mixin: a product of experts with a learned trust (https://arxiv.org/abs/1909.03683).

1. g = softplus(w . h + b), from the features h that enter the model's last layer: how far the bias
   model is to be trusted on this item. w and b are trained beside the model and not used after.
2. The loss is CE(log_softmax(z) + g log p_bias, y).
3. The model could make the bias model useless by g = 0. With entropy > 0 (`+H` in the paper) the
   entropy of softmax(g log p_bias) is added to the loss, which keeps g up.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillation.checks import require
from distillation.data import Batch
from distillation.features import last_layer, logits_and_features
from distillation.objectives.objective import (
    Criterion,
    Materials,
    Need,
    Signals,
    SteppedObjective,
)


@dataclass(frozen=True)
class LearnedMixin(SteppedObjective):
    """Cross-entropy of the product with the bias model, which is trusted item by item.

    Attributes:
        entropy: Weight of the entropy of the bias model as it is trusted; 0 is the plain learned
            mixin, .03 the paper's for MNLI.
    """

    entropy: float = 0.0
    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def __post_init__(self) -> None:
        require(self.entropy >= 0, "entropy", "at least 0", self.entropy)

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its own weights w and b, which start at w = 0 and g = 1."""
        return LearnedMixinCriterion(self, materials)


class LearnedMixinCriterion(Criterion):
    """The loss of `LearnedMixin`; `trust` is the layer from features to g before the softplus."""

    def __init__(self, objective: LearnedMixin, materials: Materials) -> None:
        super().__init__()
        self.entropy = objective.entropy
        self.classifier = materials.classifier
        self.trust = nn.Linear(last_layer(materials.classifier).width, 1)
        nn.init.zeros_(self.trust.weight)
        one_before_softplus = 0.5413248546129181
        nn.init.constant_(self.trust.bias, one_before_softplus)

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        assert signals.bias is not None, "declared in needs"
        logits, features = logits_and_features(self.classifier, inputs, model)
        trusted = F.softplus(self.trust(features)) * signals.bias
        product = F.log_softmax(logits, dim=-1) + trusted
        loss = F.cross_entropy(product, signals.labels)
        return loss + self.entropy * entropy(trusted) if self.entropy else loss


def entropy(logits: Float[Tensor, "batch n_classes"]) -> Float[Tensor, ""]:
    """Mean entropy of softmax(logits), in nats."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean()
