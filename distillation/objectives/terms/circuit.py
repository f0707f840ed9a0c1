"""Circuit-guided distillation: the student's nodes shall do to the margin what the teacher's do.

At every k-th step some training quads are drawn and both networks' effects of heads and MLPs are
estimated on them (`contrast_effects`). The term is

    sum over nodes of (core effect of the student's node - core effect of its teacher's)^2
    + shortcut * sum over nodes of (shortcut effect of the student's node)^2

with effects as shares of each model's own total range, the teacher's without gradients. Heads can
be compared one by one where the student starts from the teacher's layers; where nothing aligns
them, `match: layers` compares the sums of a layer's heads. The effects on the shortcut have
nothing to be aligned with, and are squared head by head: in a sum they could cancel.

The term sees all four cells of training quads, and their labels through the teacher and the
direction of the margin, which the training items alone do not show. Its control is therefore not
only the same recipe without it, but also one whose data has counterfactual twins.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import RecipeError
from behavior.examples import Task
from distillation.checks import require
from distillation.objectives.objective import Materials
from distillation.objectives.terms.contrast_effects import (
    ContrastEffects,
    RowEffects,
    contrast_effects,
    encode_quads,
)
from distillation.objectives.terms.opened import OpenClassifier, RowPairs, Rows, pair_rows
from distillation.objectives.terms.term import Step, Term, TermLoss, equal_sizes
from distillation.remedies import KnowsTrainingQuads


@dataclass(frozen=True)
class CircuitTerm(Term):
    """Squared differences of effects on the core, and squared effects on the shortcut.

    Attributes:
        weight: Factor on the term.
        layers: Layer of the teacher for each layer of the student; see `pair_rows`.
        nodes: Whether MLPs are nodes beside the heads; a ResNet has none.
        match: Whether the core effects of heads are compared one by one, or the sums of layers.
        shortcut: Factor on the effects on the shortcut within the term.
        quads: How many quads are drawn.
        steps: Points between two cells at which gradients are taken.
        every: At which steps: 1 at each, 5 at every fifth; the term is zero at the others.
    """

    layers: tuple[int, ...] | None = None
    nodes: Literal["heads", "heads+mlps"] = "heads+mlps"
    match: Literal["heads", "layers"] = "heads"
    shortcut: float = 1.0
    quads: int = 8
    steps: int = 5
    every: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.shortcut >= 0, "shortcut", "at least 0", self.shortcut)
        require(self.quads >= 1, "quads", "at least 1", self.quads)
        require(self.steps >= 1, "steps", "at least 1", self.steps)
        require(self.every >= 1, "every", "at least 1", self.every)

    def bind(
        self, student: OpenClassifier, teacher: OpenClassifier, materials: Materials
    ) -> TermLoss:
        """The loss between these two networks on training quads of the task.

        Raises:
            RecipeError: If the task does not know the quads of its training items, or heads are
                to be compared that are not as many.
        """
        if not isinstance(materials.task, KnowsTrainingQuads):
            raise RecipeError(
                f"The term `circuit` needs quads, but task {materials.task.name!r} does not know "
                "those of its training items. Leave the term out."
            )
        pairs = pair_rows(student, teacher, student.rows, teacher.rows, self.layers)
        if self.match == "heads" and not equal_sizes(pairs):
            raise RecipeError(
                f"The student has {student.rows[0].n_heads} heads, the teacher "
                f"{teacher.rows[0].n_heads}. Set the term's match to layers."
            )
        places = _places(pairs, student.rows, teacher.rows)
        if self.nodes == "heads+mlps" and student.mlp_rows:
            ours, theirs = student.mlp_rows, teacher.mlp_rows
            pairs = pair_rows(student, teacher, ours, theirs, self.layers)
            places += [
                (len(student.rows) + a, len(teacher.rows) + b)
                for a, b in _places(pairs, ours, theirs)
            ]
        return CircuitLoss(self, student, teacher, tuple(places), materials)


class CircuitLoss(TermLoss):
    """Draws quads in turn; `calls` is saved, so that a resumed training goes on with the same."""

    calls: Tensor

    def __init__(
        self,
        term: CircuitTerm,
        student: OpenClassifier,
        teacher: OpenClassifier,
        places: tuple[tuple[int, int], ...],
        materials: Materials,
    ) -> None:
        super().__init__()
        self.term = term
        self.student = student
        self.teacher = teacher
        self.places = places
        self.task: Task[Any] = materials.task
        self.n_items = len(materials.examples)
        self.seed = materials.seed
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, step: Step) -> Float[Tensor, ""]:
        """The term on the next quads; zero between the steps at which it is taken."""
        call = int(self.calls)
        self.calls += 1
        if call % self.term.every:
            return torch.zeros((), device=self.calls.device)
        ours = self._effects(self.student, call, differentiable=True)
        theirs = self._effects(self.teacher, call, differentiable=False)
        mine, other = self._by_match(ours.core), self._by_match(theirs.core)
        core = [(mine[a] - other[b]).square().sum() for a, b in self.places]
        shortcut = [row.square().sum() for row in ours.shortcut]
        return torch.stack(core).sum() + self.term.shortcut * torch.stack(shortcut).sum()

    def _effects(
        self, opened: OpenClassifier, call: int, *, differentiable: bool
    ) -> ContrastEffects:
        task = cast(KnowsTrainingQuads, self.task)
        first = call // self.term.every * self.term.quads
        numbers = [(first + i) % self.n_items for i in range(self.term.quads)]
        quads = [task.training_quad(number, self.seed) for number in numbers]
        encoded = encode_quads(opened, quads, self.task.labels)
        return contrast_effects(
            opened,
            encoded,
            self.task.labels,
            steps=self.term.steps,
            mlps=self.term.nodes == "heads+mlps",
            differentiable=differentiable,
        )

    def _by_match(self, rows: RowEffects) -> tuple[Tensor, ...]:
        return rows if self.term.match == "heads" else tuple(row.sum()[None] for row in rows)


def _places(pairs: RowPairs, ours: Rows, theirs: Rows) -> list[tuple[int, int]]:
    """Where the rows of each pair stand in their models."""
    return [(ours.index(mine), theirs.index(other)) for mine, other in pairs]
