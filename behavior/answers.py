"""What a model answered: task logits with the truth, and what follows from them alone.

`Answers` is a table of answers, one row for each unit's rows and one column for each question
asked of it. `QuadAnswers` is one model's answers on quads, with the cells as columns:

    answer      argmax of the task logits; right if it is the true class of the cell,
                which is the label in A and N and the foil in C and L
    margin      logit[label] - logit[foil], in logits
    p           softmax over label and foil only: sigmoid(margin)
    confidence  largest softmax probability over all task labels
    entropy     of the softmax over all task labels, in nats
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import special
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import CELLS, LABEL_CELLS, Cell
from behavior.readout import margin

CELL_COLUMNS: dict[Cell, int] = {cell: i for i, cell in enumerate(CELLS)}
"""Column of each cell in the arrays of `QuadAnswers`."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Task logits of many answers, and the true class of each.

    Attributes:
        logits: [row, answer, label] task logits, float64.
        truth: [row, answer] position of the true label.
    """

    logits: Float[np.ndarray, "row answer n_labels"]
    truth: Int[np.ndarray, "row answer"]

    def __post_init__(self) -> None:
        if not np.isfinite(self.logits).all():
            raise DataError(
                "The logits hold NaN or infinity, so nothing can be measured. Check the weights "
                "and the dtype of the model."
            )
        n_labels = self.logits.shape[-1]
        if self.truth.size and not 0 <= self.truth.min() <= self.truth.max() < n_labels:
            raise DataError(
                f"A true label is outside the {n_labels} columns of the logits. Give positions "
                f"from 0 to {n_labels - 1}; see Readout.index."
            )

    @property
    def n_labels(self) -> int:
        """Number of task labels."""
        return self.logits.shape[-1]

    @cached_property
    def log_probabilities(self) -> Float[np.ndarray, "row answer n_labels"]:
        """Log softmax over the task labels."""
        return np.asarray(special.log_softmax(self.logits, axis=-1))

    @cached_property
    def probabilities(self) -> Float[np.ndarray, "row answer n_labels"]:
        """Softmax over the task labels."""
        return np.exp(self.log_probabilities)

    @cached_property
    def predictions(self) -> Int[np.ndarray, "row answer"]:
        """Position of the label with the largest logit; the first of equal ones."""
        return self.logits.argmax(-1)

    @cached_property
    def right(self) -> Bool[np.ndarray, "row answer"]:
        """Whether the answer is the true label."""
        return self.predictions == self.truth

    @cached_property
    def confidence(self) -> Float[np.ndarray, "row answer"]:
        """Probability of the answer."""
        return self.probabilities.max(-1)

    @cached_property
    def entropy(self) -> Float[np.ndarray, "row answer"]:
        """Entropy of the probabilities, in nats, from 0 to log(n_labels)."""
        return np.asarray(special.entr(self.probabilities)).sum(-1)

    @cached_property
    def pooled(self) -> "Answers":
        """The same answers as one column, row by row."""
        return Answers(self.logits.reshape(-1, 1, self.n_labels), self.truth.reshape(-1, 1))


@dataclass(frozen=True, eq=False)
class QuadAnswers:
    """One model's answers on quads.

    Attributes:
        logits: For each cell [quad, n_labels] task logits (after `Readout.task_logits`).
        label: [quad] position of the label among the task labels.
        foil: [quad] position of the foil.
        units: [quad] id of each quad, the unit of resampling.
        templates: [quad] cluster of each quad; empty strings if none.
    """

    logits: dict[Cell, Float[Tensor, "quad n_labels"]]
    label: Int[Tensor, " quad"]
    foil: Int[Tensor, " quad"]
    units: tuple[str, ...]
    templates: tuple[str, ...]

    def __post_init__(self) -> None:
        missing = [cell for cell in CELLS if cell not in self.logits]
        if missing:
            raise DataError(f"Cell {missing[0]} has no logits. Give all of {', '.join(CELLS)}.")
        shapes = {cell: tuple(self.logits[cell].shape) for cell in CELLS}
        if len(set(shapes.values())) != 1:
            raise DataError(f"The cells need logits of one shape, got {shapes}.")
        lengths = {
            name: len(getattr(self, name)) for name in ("label", "foil", "units", "templates")
        }
        if set(lengths.values()) != {shapes["A"][0]}:
            raise DataError(f"Answers need one entry a quad ({shapes['A'][0]}), got {lengths}.")
        if not self.units:
            raise DataError("There are no quads to measure. Give at least one.")
        if bool((self.label == self.foil).any()):
            raise DataError("A quad has the same label and foil. Give two different classes.")
        assert self.answers.truth.shape == self.margins.shape

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def answers(self) -> Answers:
        """The answers as a table with the cells as columns, in the order of `CELLS`."""
        logits = torch.stack([self.logits[cell] for cell in CELLS], dim=1)
        truth = [self.label if cell in LABEL_CELLS else self.foil for cell in CELLS]
        return Answers(_float64(logits), torch.stack(truth, dim=1).cpu().numpy().astype(np.int64))

    @cached_property
    def margins(self) -> Float[np.ndarray, "quad cell"]:
        """Logit of the label minus logit of the foil, in logits."""
        logits = [self.logits[cell].double() for cell in CELLS]
        columns = [margin(cell, self.label.long(), self.foil.long()) for cell in logits]
        return _float64(torch.stack(columns, dim=1))

    @cached_property
    def label_probabilities(self) -> Float[np.ndarray, "quad cell"]:
        """Probability of the label against the foil, other labels left out."""
        return np.asarray(special.expit(self.margins))

    @property
    def pooled_units(self) -> list[str]:
        """Unit of each row of `answers.pooled`."""
        return [unit for unit in self.units for _ in CELLS]

    def take(self, units: tuple[str, ...]) -> "QuadAnswers":
        """The quads of these units, in the present order."""
        wanted = set(units)
        kept = [i for i, unit in enumerate(self.units) if unit in wanted]
        return QuadAnswers(
            {cell: logits[kept] for cell, logits in self.logits.items()},
            self.label[kept],
            self.foil[kept],
            tuple(self.units[i] for i in kept),
            tuple(self.templates[i] for i in kept),
        )

    def swap_label_and_foil(self) -> "QuadAnswers":
        """The same answers told from the other side: A becomes L, N becomes C, label foil."""
        opposite: dict[Cell, Cell] = {"A": "L", "N": "C", "C": "N", "L": "A"}
        logits = {cell: self.logits[opposite[cell]] for cell in CELLS}
        return replace(self, logits=logits, label=self.foil, foil=self.label)


def example_answers(
    logits: Float[Tensor, "example n_labels"], labels: Int[Tensor, " example"]
) -> Answers:
    """Answers to single examples, as a table of one column."""
    return Answers(_float64(logits)[:, None], labels.cpu().numpy().astype(np.int64)[:, None])


def check_same_quads(teacher: QuadAnswers, student: QuadAnswers) -> None:
    """Refuse to compare answers to different questions.

    Raises:
        DataError: If the two were not asked the same quads in the same order.
    """
    if (
        teacher.units != student.units
        or not torch.equal(teacher.label, student.label)
        or not torch.equal(teacher.foil, student.foil)
    ):
        raise DataError(
            "The two models were asked different quads. Compare answers to the same quads, in "
            "the same order, with the same task labels."
        )


def _float64(values: Float[Tensor, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return values.detach().cpu().double().numpy()
