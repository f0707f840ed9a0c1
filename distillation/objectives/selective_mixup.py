"""LISA: selective mixup (https://arxiv.org/abs/2201.00299).

Each item of a batch is mixed with a partner from the whole training set, inputs and labels alike,
in the proportion lambda ~ Beta(alpha, alpha):

* within a label (with probability `within_label`): same class, another shortcut, so that the
  shortcut is blurred and the label stays;
* within a shortcut: same shortcut, another class, so that only the core tells the mixed label.

Images are mixed in their pixels, texts in the embeddings of their tokens; the authors mix the
output of the encoder, where a linear last layer would mix nothing but logits. An item without a
partner stays as it is. Chance is drawn at each step from the seed and the number of the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from behavior.errors import RecipeError
from behavior.examples import CELLS, Example
from distillation.checks import require
from distillation.data import Batch
from distillation.mixing import mixed_logits
from distillation.objectives.objective import (
    Criterion,
    Materials,
    Need,
    Signals,
    SteppedObjective,
)


@dataclass(frozen=True)
class SelectiveMixup(SteppedObjective):
    """Cross-entropy with mixed labels on mixed inputs.

    Attributes:
        within_label: Probability that a batch is mixed within labels; else within shortcuts.
        alpha: Of the Beta distribution of the proportion.
    """

    within_label: float = 0.5
    alpha: float = 2.0
    needs: ClassVar[frozenset[Need]] = frozenset({"groups"})

    def __post_init__(self) -> None:
        require(0 <= self.within_label <= 1, "within_label", "from 0 to 1", self.within_label)
        require(self.alpha > 0, "alpha", "above 0", self.alpha)

    def criterion(self, materials: Materials) -> Criterion:
        """The loss with its state, the number of steps.

        Raises:
            RecipeError: If items are to be mixed within shortcuts, but no two classes are known to
                share one.
        """
        return SelectiveMixupCriterion(self, materials)


class SelectiveMixupCriterion(Criterion):
    """The loss of `SelectiveMixup`."""

    steps: Tensor

    def __init__(self, objective: SelectiveMixup, materials: Materials) -> None:
        super().__init__()
        self.objective = objective
        self.materials = materials
        groups = materials.signals.groups
        assert groups is not None, "declared in needs"
        same_label, same_shortcut = partners_of_groups(materials.examples, groups)
        if objective.within_label < 1 and not same_shortcut.any():
            raise RecipeError(
                "Nothing tells which items of two classes share a shortcut. Set "
                "objective.within_label to 1."
            )
        self.pools = {
            "label": [allowed[groups].nonzero().squeeze(-1) for allowed in same_label],
            "shortcut": [allowed[groups].nonzero().squeeze(-1) for allowed in same_shortcut],
        }
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats; counts the step."""
        rng = np.random.default_rng([self.materials.seed, int(self.steps)])
        self.steps += 1
        within_label = rng.random() < self.objective.within_label
        share = float(rng.beta(self.objective.alpha, self.objective.alpha))
        items, partners = self._pair(signals, "label" if within_label else "shortcut", rng)
        classifier = self.materials.classifier
        logits = mixed_logits(classifier, model, self.materials.inputs, items, partners, share)
        theirs = self.materials.signals.labels[partners].to(logits.device)
        return share * F.cross_entropy(logits, signals.labels) + (1 - share) * F.cross_entropy(
            logits, theirs
        )

    def _pair(
        self, signals: Signals, within: str, rng: np.random.Generator
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Items of the batch and the partner of each, itself where there is none."""
        assert signals.groups is not None and signals.items is not None, "groups are needed"
        items, partners = signals.items.cpu(), signals.items.cpu().clone()
        for i, group in enumerate(signals.groups.tolist()):
            pool = self.pools[within][group]
            if len(pool):
                partners[i] = pool[int(rng.integers(len(pool)))]
        return items, partners


def partners_of_groups(
    examples: Sequence[Example[Any]], groups: Int[Tensor, " item"]
) -> tuple[Bool[Tensor, "group group"], Bool[Tensor, "group group"]]:
    """Which groups have the same label and another shortcut, and which the reverse.

    The shortcut of a conflicting item points to the other class where there are two, and to an
    unknown one where there are more.
    """
    first = {group: i for i, group in reversed(list(enumerate(groups.tolist())))}
    members = [examples[first[group]] for group in range(len(first))]
    labels = [example.label for example in members]
    shortcuts = [_shortcut(example, sorted(set(labels))) for example in members]
    same = torch.tensor([[one == other for other in labels] for one in labels])
    shared = torch.tensor([[one == other != "" for other in shortcuts] for one in shortcuts])
    return same & ~torch.eye(len(members), dtype=torch.bool), shared & ~same


def _shortcut(example: Example[Any], classes: Sequence[str]) -> str:
    if example.group not in CELLS:
        return example.group
    if example.aligned:
        return example.label
    others = [name for name in classes if name != example.label]
    return others[0] if len(others) == 1 else ""
