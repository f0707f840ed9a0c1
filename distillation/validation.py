"""Accuracy on validation data, for the record of a run and for choosing among its checkpoints.

Of a generated task the cells of validation quads are measured: equal parts of A, N, C and L. Its
in-domain validation items, and the validation split of any other source, are as in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Int
from torch import Tensor

from behavior.errors import RecipeError
from behavior.examples import Example, Task
from behavior.generated import GeneratedTask
from behavior.readout import Readout, read_labels
from distillation.classifier import Classifier
from distillation.data import EncodedInputs
from distillation.recipe import SelectionRecipe

N_VALIDATION = 2000
"""Examples; of a generated task 500 quads, four cells each."""

VALIDATION = "validation"

SELECTED = "eval_selection"
"""What a trainer calls the accuracy that checkpoints are chosen by."""


@dataclass(frozen=True, eq=False)
class Validation:
    """Validation examples as one classifier reads them, encoded once.

    Attributes:
        inputs: [example] encoded.
        truth: [example] class of the task.
        groups: [example] name of its group, empty where the task does not know.
        readout: From the classifier's classes to those of the task.
    """

    inputs: EncodedInputs
    truth: Int[Tensor, " example"]
    groups: tuple[str, ...]
    readout: Readout

    @classmethod
    def of(
        cls, classifier: Classifier, task: Task[Any], examples: Sequence[Example[Any]]
    ) -> "Validation":
        """Encode examples of a task for a classifier."""
        readout = read_labels(classifier.classes, task.labels)
        return cls(
            classifier.encode([example.input for example in examples]),
            readout.index([example.label for example in examples]),
            tuple(example.group or "" for example in examples),
            readout,
        )

    def right(self, classifier: Classifier) -> Bool[Tensor, " example"]:
        """[example] whether the answer is right."""
        return self.readout.task_logits(classifier.predict(self.inputs)).argmax(-1) == self.truth

    def by_group(self, classifier: Classifier) -> dict[str, dict[str, float | int]]:
        """Accuracy of each group, with its number of examples."""
        right = self.right(classifier).tolist()
        return {group: _share(right, self.groups, group) for group in dict.fromkeys(self.groups)}


class Selection:
    """Measures what a rule chooses checkpoints by, always on the same validation examples.

    Raises:
        RecipeError: If the task has no validation examples, or none with groups.
    """

    def __init__(self, rule: SelectionRecipe, classifier: Classifier, task: Task[Any]) -> None:
        worst = rule.rule == "worst-group"
        examples = grouped_examples(task) if worst else in_domain_examples(task)
        if not examples:
            raise RecipeError(
                f"selection.rule is {rule.rule!r}, but task {task.name!r} has no validation "
                "split. Choose selection.rule: last."
            )
        if worst and not all(example.group for example in examples):
            raise RecipeError(
                "selection.rule is 'worst-group', but the validation examples of task "
                f"{task.name!r} have no groups. Choose in-domain or last."
            )
        self._worst = worst
        self._validation = Validation.of(classifier, task, examples)

    def measure(self, classifier: Classifier) -> float:
        """Accuracy in-domain, or of the group with the lowest."""
        if not self._worst:
            return float(self._validation.right(classifier).double().mean())
        return min(found["value"] for found in self._validation.by_group(classifier).values())


def validation_accuracy(
    classifier: Classifier, task: Task[Any]
) -> dict[str, dict[str, float | int]]:
    """Accuracy per group on validation quads, or on the validation split; empty without either."""
    examples = grouped_examples(task)
    return Validation.of(classifier, task, examples).by_group(classifier) if examples else {}


def grouped_examples(task: Task[Any]) -> list[Example[Any]]:
    """The cells of validation quads, or else the validation split; empty without either."""
    if isinstance(task, GeneratedTask):
        quads = task.quads(N_VALIDATION // 4, split=VALIDATION)
        return [example for quad in quads for example in quad.examples()]
    return in_domain_examples(task)


def in_domain_examples(task: Task[Any]) -> list[Example[Any]]:
    """Validation examples that are biased as the training split is; empty without such a split."""
    return list(task.examples(VALIDATION, N_VALIDATION)) if VALIDATION in task.splits else []


def _share(right: Sequence[bool], groups: Sequence[str], group: str) -> dict[str, float | int]:
    chosen = [fine for fine, own in zip(right, groups, strict=True) if own == group]
    return {"value": sum(chosen) / len(chosen), "n": len(chosen)}
