"""What every term is: settings with a weight, and a loss that is bound to two networks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.objectives.objective import Materials
from distillation.objectives.terms.opened import OpenClassifier, RowPairs, Rows
from patching.models.nodes import Site


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a term sees of one batch.

    Attributes:
        student: Activations of the student, with gradients.
        teacher: Activations of the teacher on the same inputs, without.
        mask: [batch, pos] 1 at tokens, 0 at padding; None where nothing is padded.
    """

    student: Mapping[Site, Tensor]
    teacher: Mapping[Site, Tensor]
    mask: Int[Tensor, "batch pos"] | None


class TermLoss(nn.Module, ABC):
    """A term between two networks; its own weights are trained with the student's.

    Attributes:
        student_sites: What it reads of the student.
        teacher_sites: What it reads of the teacher.
    """

    student_sites: tuple[Site, ...] = ()
    teacher_sites: tuple[Site, ...] = ()

    @abstractmethod
    def forward(self, step: Step) -> Float[Tensor, ""]:
        """The term without its weight."""
        ...


@dataclass(frozen=True)
class Term(ABC):
    """One term of an objective.

    Attributes:
        weight: Factor on the term.
    """

    weight: float

    def __post_init__(self) -> None:
        require(self.weight >= 0, "weight", "at least 0", self.weight)

    @abstractmethod
    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks.

        Raises:
            CircuitsError: If they cannot be compared in this way.
        """
        ...


class PairedLoss(TermLoss, ABC):
    """A term that compares sites of paired rows, one by one, and takes the mean over pairs."""

    def __init__(self, pairs: tuple[tuple[Site, Site], ...]) -> None:
        super().__init__()
        self.pairs = pairs
        self.student_sites = tuple(dict.fromkeys(ours for ours, _ in pairs))
        self.teacher_sites = tuple(dict.fromkeys(theirs for _, theirs in pairs))

    def forward(self, step: Step) -> Float[Tensor, ""]:
        """Mean over the pairs."""
        parts = [
            self.compare(ours, step.student[ours], step.teacher[theirs], mask_of(ours, step))
            for ours, theirs in self.pairs
        ]
        return torch.stack(parts).mean()

    @abstractmethod
    def compare(
        self, site: Site, student: Tensor, teacher: Tensor, mask: Int[Tensor, "batch pos"] | None
    ) -> Float[Tensor, ""]:
        """The loss of one pair; both are what the site holds, see `patching.models.nodes`."""
        ...


def mask_of(site: Site, step: Step) -> Int[Tensor, "batch pos"] | None:
    """Which positions of a site are no padding; the decoder reads its input shifted by one."""
    if step.mask is None or not site.stack.startswith("dec"):
        return step.mask
    n = step.student[site].shape[2 if site.activation == "pattern" else 1]
    if n != step.mask.shape[1]:
        return None
    return torch.cat([torch.ones_like(step.mask[:, :1]), step.mask[:, :-1]], dim=1)


def mean_over_positions(
    values: Float[Tensor, "batch pos"], mask: Int[Tensor, "batch pos"] | None
) -> Float[Tensor, ""]:
    """Mean over all positions of all examples that are no padding."""
    return values.mean() if mask is None else (values * mask).sum() / mask.sum()


def require_attention(rows: Rows, what: str) -> Rows:
    """The rows, if they have queries and keys.

    Raises:
        RecipeError: If they have none.
    """
    if any(row.q is None for row in rows):
        raise RecipeError(
            f"{what} needs attention, but a ResNet has none. Use attention-transfer instead."
        )
    return rows


def equal_sizes(pairs: RowPairs) -> bool:
    """Whether paired rows have equally many heads."""
    return all(ours.n_heads == theirs.n_heads for ours, theirs in pairs)
