"""Distillation of a teacher's logits (https://arxiv.org/abs/1503.02531), and of what else it shows.

The teacher is in evaluation mode. Its logits are computed once for all training items, or, with
`online`, at each step. `terms` compare what lies behind the logits; for these the teacher runs at
each step too.
"""

from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.losses import (
    CONVENTIONS,
    OURS,
    Convention,
    DistillationLoss,
    Divergence,
    Reduction,
    mean_of_probabilities,
)
from distillation.objectives.objective import Criterion, LogitObjective, Materials, Need, Signals
from distillation.objectives.taught import TaughtCriterion
from distillation.objectives.terms import Term, term_name

_ALWAYS_SAID = ("alpha", "temperature")


@dataclass(frozen=True)
class LogitDistillation(LogitObjective):
    """(1 - alpha) cross-entropy + alpha T^2 KL(teacher || student); see `losses`.

    Attributes:
        alpha: Weight of the teacher; 1 ignores the labels, 0 ignores the teacher.
        temperature: T, applied to both models' logits in the KL term.
        convention: Codebase whose meaning of alpha, T and the mean is meant, one of
            `losses.CONVENTIONS`; None is ours.
        hard_weight: Weight of the labels, where it is not what alpha leaves of 1.
        temperature_squared: Whether the teacher's term is multiplied by T^2; None is as the
            convention says, and so below.
        reduction: Mean over the batch, or over batch and classes.
        divergence: KL divergence, or cross-entropy.
        combine: How several teachers become one: the mean of their logits, or of their
            probabilities at T.
        online: Whether the teacher runs at each step, instead of once beforehand.
        terms: What else is compared; see `objectives.terms`.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    convention: str | None = None
    hard_weight: float | None = None
    temperature_squared: bool | None = None
    reduction: Reduction | None = None
    divergence: Divergence | None = None
    combine: Literal["logits", "probabilities"] = "logits"
    online: bool = False
    terms: tuple[Term, ...] = ()
    needs: ClassVar[frozenset[Need]] = frozenset({"teacher"})

    def __post_init__(self) -> None:
        if self.convention is not None and self.convention not in CONVENTIONS:
            names = ", ".join(map(repr, CONVENTIONS))
            raise RecipeError(f"convention must be one of {names}, got {self.convention!r}.")
        if self._meaning.hard_weight is None and self.hard_weight is None:
            require(0 <= self.alpha <= 1, "alpha", "from 0 to 1", self.alpha)
        require(self.alpha >= 0, "alpha", "at least 0", self.alpha)
        require(self.temperature > 0, "temperature", "above 0", self.temperature)
        fine = self.hard_weight is None or self.hard_weight >= 0
        require(fine, "hard_weight", "at least 0", self.hard_weight)

    @property
    def distillation_loss(self) -> DistillationLoss:
        """The loss of the logits with all conventions resolved."""
        return self._meaning.loss(
            self.alpha,
            self.temperature,
            hard_weight=self.hard_weight,
            temperature_squared=self.temperature_squared,
            reduction=self.reduction,
            divergence=self.divergence,
        )

    @property
    def asks_beforehand(self) -> bool:
        """Whether the teacher's logits are computed for all items before the first step."""
        return not self.online

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        assert signals.teacher is not None, "declared in needs"
        return self.distillation_loss(logits, signals.teacher, signals.labels)

    def combine_teachers(
        self, logits: Float[Tensor, "teacher item n_classes"]
    ) -> Float[Tensor, "item n_classes"]:
        """Logits of one teacher from those of several."""
        if self.combine == "probabilities":
            return mean_of_probabilities(logits, self.temperature)
        return logits.mean(0)

    def criterion(self, materials: Materials) -> Criterion:
        """The loss of the logits alone, or with a teacher that runs beside the student."""
        if not self.terms and not self.online:
            return super().criterion(materials)
        return TaughtCriterion(self, self.terms, materials, online=self.online)

    def to_json(self) -> dict[str, object]:
        """Alpha and T always, the others where they differ from their defaults."""
        said = [x for x in fields(self) if x.name != "terms"]
        settings: dict[str, object] = {
            x.name: getattr(self, x.name)
            for x in said
            if x.name in _ALWAYS_SAID or getattr(self, x.name) != x.default
        }
        if self.terms:
            settings["terms"] = [{"name": term_name(x), **asdict(x)} for x in self.terms]
        return settings

    @property
    def _meaning(self) -> Convention:
        return OURS if self.convention is None else CONVENTIONS[self.convention]
