"""Debiasing by confidence regularisation (https://arxiv.org/abs/2005.00315).

A model is taught by a plainly trained one of its own size, whose answers are made less certain
where the bias model already knows the label. It is a distillation, with a teacher that is biased.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from distillation.objectives.objective import LogitObjective, Need, Signals
from distillation.objectives.reweighting import bias_of_label


@dataclass(frozen=True)
class ConfidenceRegularisation(LogitObjective):
    """Cross-entropy with the teacher's probabilities, flattened by the bias model.

    t'_j is proportional to t_j^(1 - p_bias(label)): uniform where the bias model is sure of the
    label, the teacher's own where it knows nothing. No labels are used besides.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model", "teacher"})

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy with the flattened teacher, in nats."""
        assert signals.bias is not None and signals.teacher is not None, "declared in needs"
        exponent = 1 - bias_of_label(signals.bias, signals).exp()
        targets = (exponent[:, None] * signals.teacher.log_softmax(-1)).softmax(-1)
        return F.cross_entropy(logits, targets.detach())
