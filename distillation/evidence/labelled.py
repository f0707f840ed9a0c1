"""Runs asked labelled examples: accuracy by group, and how well the classes are told apart.

An accuracy falls when a threshold is shifted as well as when knowledge is lost; the AUC of a
two-way question tells the two apart. Groups are the source's own, as a HANS heuristic with its
label; the AUC is taken within what stands before the label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from behavior.auc import auc
from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import Example, Task
from behavior.intervals import t_interval
from behavior.readout import read_labels
from distillation.classifier import Classifier

ALL_GROUPS = "all"


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """Labelled examples that every run is asked.

    Attributes:
        name: Heads its rows in the tables.
        labels: Names of the classes.
        examples: The same for all runs.
    """

    name: str
    labels: tuple[str, ...]
    examples: tuple[Example[Any], ...]

    @classmethod
    def draw(cls, name: str, task: Task[Any], n: int, seed: int) -> "LabelledSource":
        """At most n examples of the split `test`, or of the first one where there is none."""
        split = "test" if "test" in task.splits else task.splits[0]
        return cls(name, task.labels, tuple(task.examples(split, n, seed)))

    @property
    def groups(self) -> dict[str, Bool[np.ndarray, " example"]]:
        """Which examples are in a group; all of them first."""
        return _sets([example.group for example in self.examples])

    @property
    def questions(self) -> dict[str, Bool[np.ndarray, " example"]]:
        """Which examples belong to a two-way question: all, and each group without its label."""
        if len(self.labels) != 2:
            return {}
        return _sets([example.group.rpartition("/")[0] for example in self.examples])


@dataclass(frozen=True, eq=False)
class LabelledAnswers:
    """What one run answered.

    Attributes:
        right: [example] whether the answer is the true class.
        first: [example] log-odds of the first label against the others, in logits.
    """

    right: Bool[np.ndarray, " example"]
    first: Float[np.ndarray, " example"]


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One measure of one recipe on one group, over its seeds.

    Attributes:
        recipe: Name of the recipe.
        source: Name of the source.
        group: Name of the group.
        n: Examples in it.
        measure: `accuracy` or `auc`.
        value: Mean over seeds with its t interval.
    """

    recipe: str
    source: str
    group: str
    n: int
    measure: str
    value: Estimate


def answer_labelled(classifier: Classifier, source: LabelledSource) -> LabelledAnswers:
    """The answers of a model to a source.

    Raises:
        DataError: If the model has no class for one of the labels.
    """
    try:
        readout = read_labels(classifier.classes, source.labels)
    except DataError as error:
        raise DataError(f"{source.name}: {error}") from None
    encoded = classifier.encode([example.input for example in source.examples])
    logits = readout.task_logits(classifier.predict(encoded)).double()
    truth = readout.index([example.label for example in source.examples])
    right = logits.argmax(-1) == truth
    first = logits[:, 0] - logits[:, 1:].logsumexp(-1)
    return LabelledAnswers(right.numpy(), first.numpy())


def labelled_rows(
    sources: Sequence[LabelledSource],
    answers: Mapping[str, Sequence[Mapping[str, LabelledAnswers]]],
) -> list[LabelledRow]:
    """Every group and question of every source, recipe by recipe.

    Args:
        sources: What was asked.
        answers: Of the seeds of each recipe, by the name of the source.
    """
    return [
        row
        for source in sources
        for recipe, seeds in answers.items()
        for row in _rows(recipe, source, [seed[source.name] for seed in seeds])
    ]


def _rows(
    recipe: str, source: LabelledSource, seeds: Sequence[LabelledAnswers]
) -> list[LabelledRow]:
    found: list[LabelledRow] = []
    for group, chosen in source.groups.items():
        value = t_interval([float(one.right[chosen].mean()) for one in seeds])
        found.append(LabelledRow(recipe, source.name, group, int(chosen.sum()), "accuracy", value))
    truth = np.array([example.label.casefold() for example in source.examples])
    positive = truth == source.labels[0].casefold()
    for group, chosen in source.questions.items():
        above, below = chosen & positive, chosen & ~positive
        if above.any() and below.any():
            value = t_interval([auc(one.first[above], one.first[below]) for one in seeds])
            found.append(LabelledRow(recipe, source.name, group, int(chosen.sum()), "auc", value))
    return found


def _sets(names: Sequence[str]) -> dict[str, Bool[np.ndarray, " example"]]:
    """Where each name stands, if there are several; before them, everywhere."""
    own = sorted(set(names) - {""})
    named = {name: np.array([other == name for other in names]) for name in own}
    return {ALL_GROUPS: np.ones(len(names), dtype=bool), **(named if len(own) > 1 else {})}
