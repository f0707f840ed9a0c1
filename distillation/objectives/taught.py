"""A criterion whose teacher runs beside the student, for its logits or for what lies behind them.

The teacher is neither among the criterion's parameters nor in its state: it is opened again where
a training goes on. It runs on the same items as the student, encoded by its own tokenizer or image
processor, in evaluation mode and without gradients.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import RecipeError
from distillation.data import Batch, EncodedInputs
from distillation.objectives.objective import Criterion, LogitObjective, Materials, Signals
from distillation.objectives.terms import Step, Term, TermLoss
from distillation.objectives.terms.opened import OpenClassifier
from distillation.teachers import N_ASKED, Teacher, check_answers, require_same_tokens


class TaughtCriterion(Criterion):
    """The loss of an objective on logits, plus its terms times their weights.

    Args:
        objective: What is made of the logits.
        terms: What is made of activations.
        materials: Of the training.
        online: Whether the teachers' logits come from here, and not from the signals.

    Raises:
        CircuitsError: If a term cannot be taken between these networks, or the classes of a
            teacher that is asked here have wrong names.
    """

    def __init__(
        self,
        objective: LogitObjective,
        terms: Sequence[Term],
        materials: Materials,
        *,
        online: bool,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.online = online
        self.student = OpenClassifier.of(materials.classifier) if terms else None
        self.classifier = materials.classifier
        self.teachers = _open_teachers(materials, several=not terms)
        for asked in self.teachers if online else ():
            asked.check_names(materials)
        self.weights = [term.weight for term in terms]
        self.terms = nn.ModuleList()
        if self.student is not None:
            teacher = OpenClassifier.of(self.teachers[0].teacher.classifier)
            self.opened_teacher = teacher
            self.terms.extend(term.bind(self.student, teacher, materials) for term in terms)
            if any(loss.student_sites for loss in self._losses):
                self.teachers[0].require_same_positions(materials)

    @property
    def is_mean(self) -> bool:
        """As the objective and the terms say."""
        return self.objective.is_mean and super().is_mean

    @property
    def _losses(self) -> list[TermLoss]:
        return [loss for loss in self.terms if isinstance(loss, TermLoss)]

    def forward(self, model: nn.Module, inputs: Batch, signals: Signals) -> Float[Tensor, ""]:
        """Mean loss of a batch, in nats."""
        asked = [teacher.batch(inputs, signals) for teacher in self.teachers]
        if self.online:
            answers = [
                x.teacher.logits(batch) for x, batch in zip(self.teachers, asked, strict=True)
            ]
            combined = self.objective.combine_teachers(torch.stack(answers))
            signals = replace(signals, teacher=combined)
        if self.student is None:
            return self.objective.loss(self.classifier.logits(inputs, model), signals)
        logits, step = self._read(self.student, model, inputs, asked[0])
        loss = self.objective.loss(logits, signals)
        for weight, term in zip(self.weights, self.terms, strict=True):
            loss = loss + weight * term(step)
        return loss

    def _read(
        self, student: OpenClassifier, model: nn.Module, inputs: Batch, asked: Batch
    ) -> tuple[Float[Tensor, "batch n_classes"], Step]:
        ours = dict.fromkeys(site for loss in self._losses for site in loss.student_sites)
        theirs = dict.fromkeys(site for loss in self._losses for site in loss.teacher_sites)
        logits, values = student.run(inputs, ours, model)
        seen = {}
        if theirs:
            with torch.no_grad():
                _, seen = self.opened_teacher.run(asked, theirs)
        return logits, Step(values, seen, inputs.get("attention_mask"))


class _AskedTeacher:
    """A teacher with the training items as it takes them."""

    def __init__(self, teacher: Teacher, materials: Materials) -> None:
        self.teacher = teacher
        self.encoded = teacher.encode([example.input for example in materials.examples])

    def check_names(self, materials: Materials) -> None:
        """Refuse a teacher whose answers to some of the items fit other names of its classes."""
        n, rng = len(self.encoded), torch.Generator().manual_seed(0)
        items = torch.randperm(n, generator=rng)[:N_ASKED]
        answers = self.teacher.predict(EncodedInputs(self.encoded.take(items)))
        labels = materials.signals.labels[items]
        check_answers(self.teacher.name, answers, labels, self.teacher.readout)

    def require_same_positions(self, materials: Materials) -> None:
        """Refuse a tokenizer that cuts the items otherwise than the student's."""
        preprocessor = materials.classifier.preprocessor
        require_same_tokens(self.teacher, materials.inputs, self.encoded, preprocessor)

    def batch(self, inputs: Batch, signals: Signals) -> Batch:
        """The items of a batch, on the device of the student's inputs."""
        assert signals.items is not None, "the trainer says which items a batch holds"
        device = next(iter(inputs.values())).device
        if self.teacher.classifier.model.device != device:
            nn.Module.to(self.teacher.classifier.model, device)
        taken = self.encoded.take(signals.items.cpu())
        return {name: column.to(device) for name, column in taken.items()}


def _open_teachers(materials: Materials, *, several: bool) -> list[_AskedTeacher]:
    names = materials.teachers
    if len(names) > 1 and not several:
        raise RecipeError(
            f"Terms compare the student with one teacher, but there are {len(names)}. Name one "
            "teacher, or leave out terms."
        )
    classes = materials.classifier.classes
    return [
        _AskedTeacher(Teacher.open(name, materials.parents[name], classes), materials)
        for name in names
    ]
