"""Hidden states: mean squared difference of the streams (TinyBERT, arXiv 1909.10351).

The stream that leaves each layer of the student is mapped to the teacher's width by a linear map
that is trained with the student, one for all layers of a stack, and compared with the stream that
leaves the teacher's layer. `embeddings` compares what enters the first layer as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.errors import RecipeError
from distillation.objectives.objective import Materials
from distillation.objectives.terms.opened import OpenClassifier, RowPairs, pair_rows
from distillation.objectives.terms.term import PairedLoss, Term, TermLoss, mean_over_positions
from patching.models.nodes import Site
from patching.models.rows import LayerModules


@dataclass(frozen=True)
class HiddenTerm(Term):
    """Mean over positions, channels and layers of (W h_s - h_t)^2.

    Attributes:
        weight: Factor on the term.
        layers: Layer of the teacher for each layer of the student; see `pair_rows`.
        projection: W is learned, or left out, for which widths have to be equal.
        embeddings: Whether what enters the first layer counts as one more layer.
    """

    layers: tuple[int, ...] | None = None
    projection: Literal["learned", "none"] = "learned"
    embeddings: bool = True

    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks; W is drawn from the training's seed."""
        pairs = pair_rows(student, teacher, student.layers, teacher.layers, self.layers)
        sites = [(a.site("resid_post"), b.site("resid_post")) for a, b in pairs]
        if self.embeddings:
            sites = [*_entries(student, teacher), *sites]
        widths = _widths(student, teacher, pairs)
        if self.projection == "none":
            _require_equal(widths)
            return HiddenLoss(tuple(sites), {})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(materials.seed)
            maps = {stack: nn.Linear(*sizes) for stack, sizes in widths.items()}
        return HiddenLoss(tuple(sites), maps)


class HiddenLoss(PairedLoss):
    """Compares streams; `maps` holds a linear map for each stack, or nothing."""

    def __init__(self, pairs: tuple[tuple[Site, Site], ...], maps: Mapping[str, nn.Linear]) -> None:
        super().__init__(pairs)
        self.maps = nn.ModuleDict({_key(stack): linear for stack, linear in maps.items()})

    def compare(
        self, site: Site, student: Tensor, teacher: Tensor, mask: Int[Tensor, "batch pos"] | None
    ) -> Float[Tensor, ""]:
        """Mean squared difference of two streams [batch, pos, d_model].

        Raises:
            RecipeError: If the streams have not as many positions.
        """
        if student.shape[1] != teacher.shape[1]:
            raise RecipeError(
                f"The student has {student.shape[1]} positions at {site}, the teacher "
                f"{teacher.shape[1]}. The term `hidden` needs as many; leave it out."
            )
        mapped = self.maps[_key(site.stack)](student) if self.maps else student
        return mean_over_positions((mapped - teacher).square().mean(-1), mask)


def _entries(student: OpenClassifier, teacher: OpenClassifier) -> list[tuple[Site, Site]]:
    entered = {row.stack: row for row in teacher.rows if row.enters}
    return [
        (row.site("resid_pre"), entered[row.stack].site("resid_pre"))
        for row in student.rows
        if row.enters and row.stack in entered and not row.is_image
    ]


def _widths(
    student: OpenClassifier, teacher: OpenClassifier, pairs: RowPairs
) -> dict[str, tuple[int, int]]:
    widths: dict[str, tuple[int, int]] = {}
    for ours, theirs in pairs:
        sizes = (_width(student, ours), _width(teacher, theirs))
        stacks = dict.fromkeys((ours.stack, *(row.stack for row in student.rows if row.enters)))
        for stack in stacks if not ours.is_image else (ours.stack,):
            widths[stack] = sizes
    return widths


def _width(opened: OpenClassifier, row: LayerModules) -> int:
    """Width of the stream that leaves a row: in a ResNet, of its last convolution's output."""
    weight = row.o.weight
    assert isinstance(weight, Tensor), "projections have weights"
    return weight.shape[0]


def _require_equal(widths: Mapping[str, tuple[int, int]]) -> None:
    for ours, theirs in widths.values():
        if ours != theirs:
            raise RecipeError(
                f"The student is {ours} wide, the teacher {theirs}. Set the term's projection to "
                "learned."
            )


def _key(stack: str) -> str:
    return stack.replace(".", "_") or "stream"
