"""What every objective is: a loss, and perhaps a way of drawing the items.

An objective is a frozen dataclass of its own settings (the keys it may have in a recipe). It
declares what it needs besides inputs and labels; the training fits, loads or caches that once
and hands it over as `Signals`, one row per training item.

What is minimised is a `Criterion`, made once for a training from its `Materials`. Most objectives
look at nothing but the logits of a batch: these are `LogitObjective`s and give a `loss`. Others
train something beside the model (a head of a bias model, a second network), keep a memory of
earlier batches, or read activations: their criterion is a module whose weights are trained and
saved with the model's, so that an interrupted training goes on as if it had not been.

A `ClosedForm` has no loss to step down: it changes the model it starts from once, and is done.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.examples import Example, Task
from distillation.classifier import Classifier
from distillation.data import Batch, EncodedInputs

Need = Literal["teacher", "bias_model", "start", "trained weights", "groups"]
"""What a recipe must have; trained weights come from a start or from a pretrained network."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the losses read, one row per training item.

    Attributes:
        labels: [item] class of the item.
        teacher: [item, class] logits of the teacher, or None.
        bias: [item, class] log-probabilities of the bias model, or None.
        groups: [item] number of the item's group, which is its class together with what its
            shortcut says, or None where the task does not know.
        items: [item] which training item a row is about; None where a row is the item of its
            place.
    """

    labels: Int[Tensor, " item"]
    teacher: Float[Tensor, "item n_classes"] | None = None
    bias: Float[Tensor, "item n_classes"] | None = None
    groups: Int[Tensor, " item"] | None = None
    items: Int[Tensor, " item"] | None = None

    def take(self, items: Int[Tensor, " batch"]) -> "Signals":
        """The rows of these items, in this order."""
        return Signals(
            self.labels[items],
            None if self.teacher is None else self.teacher[items],
            None if self.bias is None else self.bias[items],
            None if self.groups is None else self.groups[items],
            items,
        )


@dataclass(frozen=True, eq=False)
class Materials:
    """All that a training has when its criterion is made.

    Attributes:
        classifier: The model that is trained, with its initial weights.
        inputs: [item] the encoded training items.
        signals: [item] what the objective reads.
        examples: [item] the training items.
        task: Source of the items.
        parents: Folder of each model that the recipe needs, by recipe.
        seed: Of the training.
        teachers: Recipe of each teacher.
        n_steps: Updates of the training.
    """

    classifier: Classifier
    inputs: EncodedInputs
    signals: Signals
    examples: tuple[Example[Any], ...]
    task: Task[Any]
    parents: Mapping[str, Path]
    seed: int
    teachers: tuple[str, ...] = ()
    n_steps: int = 1


class Criterion(nn.Module, ABC):
    """Loss of one batch; weights and buffers of its own are trained and saved with the model's."""

    @abstractmethod
    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats.

        Args:
            model: The model that is trained, perhaps wrapped for several devices.
            inputs: What it is called with.
            signals: The rows of the batch.
        """
        ...

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is the mean of those of its parts, so that it can be split.

        It is not where earlier batches are counted or remembered.
        """
        return next(self.buffers(), None) is None


@dataclass(frozen=True)
class Objective:
    """What a training is after: a `SteppedObjective` or a `ClosedForm`.

    Attributes:
        needs: Keys of the recipe without which the objective cannot run; `groups` means a task
            that knows the group of each training item.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"] | None:
        """Relative probability of drawing each item; None visits all items equally."""
        return None

    @property
    def asks_beforehand(self) -> bool:
        """Whether a teacher's logits are computed for all items before the first step."""
        return True

    def combine_teachers(
        self, logits: Float[Tensor, "teacher item n_classes"]
    ) -> Float[Tensor, "item n_classes"]:
        """Logits of one teacher from those of several: their mean."""
        return logits.mean(0)

    def to_json(self) -> dict[str, object]:
        """The settings, with every default written out."""
        return asdict(self)


@dataclass(frozen=True)
class ClosedForm(Objective, ABC):
    """An objective that is reached without gradient steps; the recipe's steps must be 1."""

    @abstractmethod
    def fit(self, materials: Materials) -> None:
        """Change the model in place."""
        ...


@dataclass(frozen=True)
class SteppedObjective(Objective, ABC):
    """An objective whose loss is minimised step by step."""

    @abstractmethod
    def criterion(self, materials: Materials) -> Criterion:
        """The loss of this training, with whatever is trained beside the model."""
        ...


@dataclass(frozen=True)
class LogitObjective(SteppedObjective):
    """An objective that looks at nothing but the logits of a batch."""

    @abstractmethod
    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        ...

    @property
    def is_mean(self) -> bool:
        """Whether the loss of a batch is the mean of those of its parts."""
        return True

    def criterion(self, materials: Materials) -> Criterion:
        """The loss of the logits; nothing is trained beside the model."""
        return LogitCriterion(self, materials.classifier)


class LogitCriterion(Criterion):
    """The loss of an objective that looks at nothing but logits."""

    def __init__(self, objective: LogitObjective, classifier: Classifier) -> None:
        super().__init__()
        self.objective = objective
        self.logits = classifier.logits

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        return self.objective.loss(self.logits(inputs, model), signals)

    @property
    def is_mean(self) -> bool:
        """As the objective says."""
        return self.objective.is_mean
