"""Attention patterns of paired layers: squared difference or KL divergence.

TinyBERT (arXiv 1909.10351) compares raw scores, MiniLM (arXiv 2002.10957) the probabilities of the
last layer; here both are probabilities. Heads are compared one by one where student and teacher
have as many, and otherwise as their mean pattern. Attention patterns are formed without
attention dropout while they are read.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from behavior.errors import RecipeError
from distillation.objectives.objective import Materials
from distillation.objectives.terms.opened import OpenClassifier, pair_rows
from distillation.objectives.terms.term import (
    PairedLoss,
    Term,
    TermLoss,
    equal_sizes,
    mean_over_positions,
    require_attention,
)
from patching.models.nodes import Site

_LEAST = 1e-12
"""Keeps the logarithm of a masked position finite."""


@dataclass(frozen=True)
class AttentionTerm(Term):
    """Mean over heads, positions and layers of the distance of two attention distributions.

    Attributes:
        weight: Factor on the term.
        distance: `mse` is the sum over keys of the squared difference, `kl` is KL(teacher ||
            student) in nats.
        heads: `each` compares head h with head h, `mean` the mean over heads; None compares each
            where there are as many.
        layers: Layer of the teacher for each layer of the student; see `pair_rows`.
    """

    distance: Literal["mse", "kl"] = "mse"
    heads: Literal["each", "mean"] | None = None
    layers: tuple[int, ...] | None = None

    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks.

        Raises:
            RecipeError: If heads cannot be paired one by one, or rows have no attention.
        """
        ours, theirs = (
            require_attention(opened.rows, "The term `attention`") for opened in (student, teacher)
        )
        pairs = pair_rows(student, teacher, ours, theirs, self.layers)
        equal = equal_sizes(pairs)
        if self.heads == "each" and not equal:
            raise RecipeError(
                f"The student has {ours[0].n_heads} heads, the teacher {theirs[0].n_heads}. Set "
                "the term's heads to mean."
            )
        sites = tuple((a.site("pattern"), b.site("pattern")) for a, b in pairs)
        each = equal if self.heads is None else self.heads == "each"
        return AttentionLoss(sites, self.distance, each)


class AttentionLoss(PairedLoss):
    """Compares attention patterns."""

    def __init__(
        self, pairs: tuple[tuple[Site, Site], ...], distance: Literal["mse", "kl"], each: bool
    ) -> None:
        super().__init__(pairs)
        self.distance = distance
        self.each = each

    def compare(
        self, site: Site, student: Tensor, teacher: Tensor, mask: Int[Tensor, "batch pos"] | None
    ) -> Float[Tensor, ""]:
        """Distance of two patterns [batch, head, dst, src], padded queries left out."""
        if not self.each:
            student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
        if self.distance == "mse":
            apart = (student - teacher).square().sum(-1)
        else:
            ours, theirs = student.clamp(min=_LEAST).log(), teacher.clamp(min=_LEAST).log()
            apart = (teacher * (theirs - ours)).sum(-1)
        return mean_over_positions(apart.mean(1), mask)
