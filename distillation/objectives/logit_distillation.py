"""Distillation of a teacher's logits (https://arxiv.org/abs/1503.02531).

The teacher is in evaluation mode and its logits are computed once for all training items.
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from behavior.errors import RecipeError
from distillation.losses import logit_distillation_loss
from distillation.objectives.objective import LogitObjective, Need, Signals


@dataclass(frozen=True)
class LogitDistillation(LogitObjective):
    """(1 - alpha) cross-entropy + alpha T^2 KL(teacher || student); see `losses`.

    Attributes:
        alpha: Weight of the teacher; 1 ignores the labels, 0 ignores the teacher.
        temperature: T, applied to both models' logits in the KL term.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    needs: ClassVar[frozenset[Need]] = frozenset({"teacher"})

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"alpha must be from 0 to 1, got {self.alpha!r}.")
        if self.temperature <= 0:
            raise RecipeError(f"temperature must be above 0, got {self.temperature!r}.")

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        assert signals.teacher is not None, "declared in needs"
        return logit_distillation_loss(
            logits, signals.teacher, signals.labels, alpha=self.alpha, temperature=self.temperature
        )
