"""Attention transfer: where the activations of a stage are large (arXiv 1612.03928).

The attention map of a stream is the mean over channels of its squares, at each position, scaled to
norm 1; so channels may differ in number. Paper and code of the authors differ in what is done with
the difference of two maps, and `mode` says which is meant.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import RecipeError
from distillation.objectives.objective import Materials
from distillation.objectives.terms.opened import OpenClassifier, Rows, pair_rows
from distillation.objectives.terms.term import PairedLoss, Term, TermLoss
from patching.models.nodes import Site


@dataclass(frozen=True)
class AttentionTransferTerm(Term):
    """Mean over stages of the distance of two attention maps.

    Attributes:
        weight: Factor on the term.
        mode: `code` is the mean over batch and positions of the squared difference, `paper` the
            mean over the batch of the norm of the difference.
        layers: Layer of the teacher for each layer of the student; None compares the last block
            of each stage in a ResNet, and layers as `pair_rows` does elsewhere.
    """

    mode: Literal["code", "paper"] = "code"
    layers: tuple[int, ...] | None = None

    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks."""
        ours, theirs = student.layers, teacher.layers
        if student.is_convolutional and self.layers is None:
            ours, theirs = _last_of_stages(ours), _last_of_stages(theirs)
        pairs = pair_rows(student, teacher, ours, theirs, self.layers)
        sites = tuple((a.site("resid_post"), b.site("resid_post")) for a, b in pairs)
        return AttentionTransferLoss(sites, self.mode)


class AttentionTransferLoss(PairedLoss):
    """Compares attention maps."""

    def __init__(
        self, pairs: tuple[tuple[Site, Site], ...], mode: Literal["code", "paper"]
    ) -> None:
        super().__init__(pairs)
        self.mode = mode

    def compare(
        self, site: Site, student: Tensor, teacher: Tensor, mask: Int[Tensor, "batch pos"] | None
    ) -> Float[Tensor, ""]:
        """Distance of the attention maps of two streams [batch, pos, d_model].

        Raises:
            RecipeError: If the maps are not of one size.
        """
        if student.shape[1] != teacher.shape[1]:
            raise RecipeError(
                f"The student has {student.shape[1]} positions at {site}, the teacher "
                f"{teacher.shape[1]}. Attention transfer needs maps of one size; give both the "
                "same image size, or pair other layers."
            )
        apart = attention_map(student, mask) - attention_map(teacher, mask)
        return apart.square().mean() if self.mode == "code" else apart.norm(dim=1).mean()


def attention_map(
    stream: Float[Tensor, "batch pos d_model"], mask: Int[Tensor, "batch pos"] | None = None
) -> Float[Tensor, "batch pos"]:
    """Mean square of each position, scaled to norm 1 over positions; zero at padding."""
    squares = stream.square().mean(-1)
    return F.normalize(squares if mask is None else squares * mask, dim=1)


def _last_of_stages(rows: Rows) -> Rows:
    return tuple({row.stack: row for row in rows}.values())
