"""Learning from failure (https://arxiv.org/abs/2007.02561).

1. A second network of the same shape learns to be biased, by generalised cross-entropy.
2. Of both networks a moving average of each item's cross-entropy is kept, and divided by the
   largest of the item's class. In order: l_B of the biased one, l_D of ours.
3. Our loss is the mean of l_B / (l_B + l_D) CE: items on which only the biased network fails count.

The biased network starts from the weights of ours, is trained and saved in checkpoints with the
criterion, and is not part of the model.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from distillation.checks import require
from distillation.data import Batch
from distillation.objectives.generalised_cross_entropy import generalised_cross_entropy
from distillation.objectives.objective import Criterion, Materials, Signals, SteppedObjective


@dataclass(frozen=True)
class LfF(SteppedObjective):
    """Cross-entropy weighted by the relative difficulty of an item for a biased network.

    Attributes:
        q: Of the biased network's generalised cross-entropy.
        decay: Of the moving averages of losses.
    """

    q: float = 0.7
    decay: float = 0.7

    def __post_init__(self) -> None:
        require(0 < self.q <= 1, "q", "above 0 and at most 1", self.q)
        require(0 <= self.decay < 1, "decay", "from 0 to below 1", self.decay)

    def criterion(self, materials: Materials) -> Criterion:
        """The losses of both networks, with the biased one and the averages as state."""
        return LfFCriterion(self, materials)


class LfFCriterion(Criterion):
    """The loss of `LfF`; `averages` is [network, item], the biased one first, NaN if not seen."""

    averages: Tensor
    labels: Tensor

    def __init__(self, objective: LfF, materials: Materials) -> None:
        super().__init__()
        self.objective = objective
        classifier, labels = materials.classifier, materials.signals.labels
        self.logits = classifier.logits
        self.biased = deepcopy(classifier.model)
        self.biased_logits = replace(classifier, model=self.biased).logits
        self.register_buffer("averages", torch.full((2, len(labels)), torch.nan))
        self.register_buffer("labels", labels, persistent=False)

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Sum of both networks' mean losses of a batch; moves the averages."""
        ours, theirs = self.logits(inputs, model), self.biased_logits(inputs)
        losses = F.cross_entropy(ours, signals.labels, reduction="none")
        biased = F.cross_entropy(theirs, signals.labels, reduction="none")
        weights = self._difficulty(torch.stack([biased, losses]).detach(), signals)
        return (
            generalised_cross_entropy(theirs, signals, self.objective.q).mean()
            + (weights * losses).mean()
        )

    def _difficulty(
        self, losses: Float[Tensor, "2 batch"], signals: Signals
    ) -> Float[Tensor, " batch"]:
        """l_B / (l_B + l_D), from averages that hold this batch."""
        assert signals.items is not None, "the trainer says which items"
        old = self.averages[:, signals.items]
        decay = self.objective.decay
        new = torch.where(old.isnan(), losses, decay * old + (1 - decay) * losses)
        self.averages[:, signals.items] = new
        biased, ours = new / self._largest_of_class()[:, signals.labels]
        return biased / (biased + ours + 1e-8)

    def _largest_of_class(self) -> Float[Tensor, "2 n_classes"]:
        seen = self.averages.nan_to_num()
        largest = seen.new_zeros(2, int(self.labels.max()) + 1)
        labels = self.labels.expand(2, -1)
        return largest.scatter_reduce(1, labels, seen, "amax").clamp_min(1e-8)
