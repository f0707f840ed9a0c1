"""From a model's classes to a task's labels, by name, and from there to the margin.

A three-way model can be asked a two-way question: `non-entailment` is then the set of its
classes `neutral` and `contradiction`, and its logit is their logsumexp (the log-odds of the
summed probability), or on request their maximum. Published numbers differ by this choice alone,
so it is a field of the readout and is stored with every result.

Everything after the readout works with task logits, where each label is one column:

    margin = logit[label] - logit[foil]          in logits, zero at the decision boundary
    p(label against foil) = sigmoid(margin)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import DataError

Collapse = Literal["logsumexp", "max"]

_COMPLEMENTS = {
    "non-entailment": "entailment",
    "not_entailment": "entailment",
    "not-entailment": "entailment",
    "non_entailment": "entailment",
    "nonentailment": "entailment",
}


@dataclass(frozen=True, slots=True)
class Readout:
    """Which of a model's classes each label of a task means.

    Attributes:
        classes: [class] the model's class names, in the order of its logits.
        labels: [label] the task's label names; the columns of the task logits.
        members: [label] positions in `classes` that a label covers.
        collapse: How the logits of several classes become one.
    """

    classes: tuple[str, ...]
    labels: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    collapse: Collapse = "logsumexp"

    def task_logits(
        self, logits: Float[Tensor, "batch n_classes"]
    ) -> Float[Tensor, "batch n_labels"]:
        """One logit for each label of the task."""
        columns = [
            logits[:, list(member)].logsumexp(-1)
            if self.collapse == "logsumexp"
            else logits[:, list(member)].amax(-1)
            for member in self.members
        ]
        return torch.stack(columns, dim=-1)

    def index(self, names: Sequence[str]) -> Int[Tensor, " batch"]:
        """Positions of label names in `labels`, matched without regard to case.

        Raises:
            DataError: If a name is not a label of the task.
        """
        positions = {label.casefold(): i for i, label in enumerate(self.labels)}
        unknown = sorted({name for name in names if name.casefold() not in positions})
        if unknown:
            raise DataError(
                f"Unknown label {unknown[0]!r}. Expected one of: {_quote(self.labels)}."
            )
        return torch.tensor([positions[name.casefold()] for name in names], dtype=torch.long)

    def describe(self) -> dict[str, object]:
        """The mapping as JSON, to be stored with every result."""
        return {
            "labels": {
                label: [self.classes[i] for i in member]
                for label, member in zip(self.labels, self.members, strict=True)
            },
            "collapse": self.collapse,
        }


def read_labels(
    classes: Sequence[str], labels: Sequence[str], collapse: Collapse = "logsumexp"
) -> Readout:
    """Match a task's labels to a model's classes by name.

    Names are compared without regard to case. A `non-entailment` that the model does not have
    is the union of all its classes but `entailment`.

    Raises:
        DataError: If a label has no class, or two labels share one.
    """
    known = {name.casefold(): i for i, name in enumerate(classes)}
    if len(known) != len(classes):
        raise DataError(f"The model has two classes of one name: {_quote(classes)}.")
    members = tuple(_members(label, known, classes) for label in labels)
    covered = [i for member in members for i in member]
    if len(set(covered)) != len(covered):
        raise DataError(
            f"The labels {_quote(labels)} share a class of the model ({_quote(classes)}). "
            "Give labels that exclude each other."
        )
    return Readout(tuple(classes), tuple(labels), members, collapse)


def margin(
    task_logits: Float[Tensor, "batch n_labels"],
    label: Int[Tensor, " batch"],
    foil: Int[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Logit of the label minus logit of the foil, per example, in logits.

    Antisymmetric in label and foil; with two labels it is the log-odds of the decision.
    """
    label_logit = task_logits.gather(-1, label[:, None]).squeeze(-1)
    foil_logit = task_logits.gather(-1, foil[:, None]).squeeze(-1)
    return label_logit - foil_logit


def _members(label: str, known: dict[str, int], classes: Sequence[str]) -> tuple[int, ...]:
    name = label.casefold()
    if name in known:
        return (known[name],)
    positive = _COMPLEMENTS.get(name)
    if positive is None or positive not in known:
        raise DataError(
            f"The model has no class named {label!r}; its classes are {_quote(classes)}. "
            "Use its names in the examples, or set id2label in its config.json."
        )
    return tuple(i for i in range(len(classes)) if i != known[positive])


def _quote(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
