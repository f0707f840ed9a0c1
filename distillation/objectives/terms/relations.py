"""Self-attention relations of queries, keys and values (MiniLMv2, https://arxiv.org/abs/2012.15828).

The queries of a layer, all heads side by side, are cut into a common number of relation heads; a
relation is softmax(Q Q^T / sqrt(d)) of one of them, and likewise for keys and values. Student and
teacher need neither the same width nor the same number of attention heads. The student's last layer
is taught by one layer of the teacher, the last unless another is named.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.objectives.objective import Materials
from distillation.objectives.terms.opened import OpenClassifier, Rows
from distillation.objectives.terms.term import (
    PairedLoss,
    Term,
    TermLoss,
    mean_over_positions,
    require_attention,
)
from patching.models.nodes import Site
from patching.models.rows import LayerModules

Projection = Literal["q", "k", "v"]


@dataclass(frozen=True)
class RelationsTerm(Term):
    """Mean over projections, relation heads and positions of KL(teacher || student), in nats.

    Attributes:
        weight: Factor on the term.
        relation_heads: Into how many heads both networks' projections are cut.
        relations: Which projections.
        layer: Layer of the teacher that teaches the student's last; None is its last.
    """

    relation_heads: int
    relations: tuple[Projection, ...] = ("q", "k", "v")
    layer: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.relation_heads >= 1, "relation_heads", "at least 1", self.relation_heads)
        fine = len(set(self.relations)) == len(self.relations) >= 1
        require(fine, "relations", "some of q, k, v, each once", list(self.relations))

    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks.

        Raises:
            RecipeError: If the relation heads do not divide a width, or rows have no attention.
        """
        ours, theirs = (
            require_attention(opened.rows, "The term `relations`") for opened in (student, teacher)
        )
        mine, other = _self_attention(ours, None), _self_attention(theirs, self.layer)
        for who, row in (("student", mine), ("teacher", other)):
            width = row.n_heads * row.d_head
            if width % self.relation_heads:
                raise RecipeError(
                    f"The {who}'s queries are {width} wide, which relation_heads = "
                    f"{self.relation_heads} does not divide. Choose a divisor of both widths."
                )
        sites = tuple((mine.site(name), other.site(name)) for name in self.relations)
        return RelationsLoss(sites, self.relation_heads)


class RelationsLoss(PairedLoss):
    """Compares relations of queries, keys or values."""

    def __init__(self, pairs: tuple[tuple[Site, Site], ...], n_heads: int) -> None:
        super().__init__(pairs)
        self.n_heads = n_heads

    def compare(
        self, site: Site, student: Tensor, teacher: Tensor, mask: Int[Tensor, "batch pos"] | None
    ) -> Float[Tensor, ""]:
        """KL divergence of the relations of two projections [batch, pos, head, d_head]."""
        ours, theirs = (log_relation(x, self.n_heads, mask) for x in (student, teacher))
        apart = F.kl_div(ours, theirs, reduction="none", log_target=True)
        if mask is not None:
            apart = apart.masked_fill(mask[:, None, None] == 0, 0.0)
        return mean_over_positions(apart.sum(-1).mean(1), mask)


def log_relation(
    projected: Float[Tensor, "batch pos head d_head"],
    n_heads: int,
    mask: Int[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch relation_head pos pos"]:
    """Log softmax(X X^T / sqrt(d)) of a projection cut into relation heads."""
    flat = rearrange(projected, "b pos head d -> b pos (head d)")
    cut = rearrange(flat, "b pos (head d) -> b head pos d", head=n_heads)
    scores = cut @ cut.transpose(-1, -2) / math.sqrt(cut.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, None] == 0, -1e9)
    return scores.log_softmax(-1)


def _self_attention(rows: Rows, layer: int | None) -> LayerModules:
    """A row of the first stack, whose queries and keys are of the same positions."""
    stack = [row for row in rows if row.stack == rows[0].stack]
    if layer is not None and not 0 <= layer < len(stack):
        raise RecipeError(f"layer is {layer}, but the teacher has {len(stack)}, from 0 on.")
    return stack[-1 if layer is None else layer]
