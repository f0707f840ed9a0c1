"""Per-sample gradient debiasing (https://arxiv.org/abs/2205.15704).

1. A network is trained to be biased, by generalised cross-entropy; a recipe starts from it.
2. Each training item is drawn with probability proportional to the norm of the gradient of its
   cross-entropy by the last layer's weights: what the biased network has not learned comes often.
3. Cross-entropy from there on.

With p the probabilities, y the label as a vector and h the features that enter the last layer, the
gradient is the outer product of p - y and h, so its norm is ||p - y|| ||h||: one forward pass.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from distillation.features import predict_features
from distillation.objectives.objective import LogitObjective, Materials, Need, Signals


@dataclass(frozen=True)
class PGD(LogitObjective):
    """Cross-entropy on items drawn by the size of their gradient in the biased network."""

    needs: ClassVar[frozenset[Need]] = frozenset({"start"})

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"]:
        """Norm of the gradient of each item, in the network that training starts from."""
        logits, features = predict_features(materials.classifier, materials.inputs)
        return gradient_norms(logits, features, materials.signals.labels)

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)


def gradient_norms(
    logits: Float[Tensor, "item n_classes"],
    features: Float[Tensor, "item d_model"],
    labels: Int[Tensor, " item"],
) -> Float[Tensor, " item"]:
    """Frobenius norm of d CE_i / d W for each item, W the last layer's weights."""
    errors = logits.softmax(-1) - F.one_hot(labels, logits.shape[-1])
    return errors.norm(dim=-1) * features.norm(dim=-1)
