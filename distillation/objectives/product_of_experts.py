"""Debiasing by a product of experts with a frozen bias model (https://arxiv.org/abs/1909.03683).

The model is trained together with the bias model and used alone: what the bias model already
explains leaves no gradient, so the model learns the rest. From scratch that starves it of
gradients (in the bundled setting it then never learns the core feature), so a recipe must start
from a model that was trained plainly, or take a pretrained network as the paper does.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from distillation.losses import product_of_experts_loss
from distillation.objectives.objective import LogitObjective, Need, Signals


@dataclass(frozen=True)
class ProductOfExperts(LogitObjective):
    """Cross-entropy of the normalised product of the model's and the bias model's probabilities."""

    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model", "trained weights"})

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy of the product, in nats."""
        assert signals.bias is not None, "declared in needs"
        return product_of_experts_loss(logits, signals.bias, signals.labels)
