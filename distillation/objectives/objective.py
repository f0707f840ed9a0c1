"""What every objective is: a loss, and perhaps a way of drawing the items.

An objective is a frozen dataclass of its own settings (the keys it may have in a recipe). It
declares what it needs besides inputs and labels; the training fits, loads or caches that once
and hands it over as `Signals`, one row per training item.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

Need = Literal["teacher", "bias_model", "start"]


@dataclass(frozen=True, slots=True)
class Signals:
    """What the losses read, one row per training item.

    Attributes:
        labels: [item] class of the item.
        teacher: [item, class] logits of the teacher, or None.
        bias: [item, class] log-probabilities of the bias model, or None.
    """

    labels: Int[Tensor, " item"]
    teacher: Float[Tensor, "item n_classes"] | None = None
    bias: Float[Tensor, "item n_classes"] | None = None

    def take(self, items: Int[Tensor, " batch"]) -> "Signals":
        """The rows of these items, in this order."""
        return Signals(
            self.labels[items],
            None if self.teacher is None else self.teacher[items],
            None if self.bias is None else self.bias[items],
        )


@runtime_checkable
class Objective(Protocol):
    """What is minimised.

    Attributes:
        needs: Keys of the recipe without which the objective cannot run.
    """

    needs: ClassVar[frozenset[Need]]

    def sampling_weights(self, signals: Signals) -> Float[Tensor, " item"] | None:
        """Relative probability of drawing each item; None visits all items equally."""
        ...

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        ...
