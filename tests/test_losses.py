"""Losses: values worked out by hand, gradients, and what each setting must reduce to."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distillation.losses import (
    CONVENTIONS,
    OURS,
    logit_distillation_loss,
    mean_of_probabilities,
    product_of_experts_loss,
)

LABELS = torch.tensor([0, 1])


def logits(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def random_logits(seed: int, n: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator, dtype=torch.float64).requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss, of)[0]


def test_distillation_loss_of_two_examples_is_the_one_worked_out_by_hand() -> None:
    student = logits([0.0, 0.0], [0.0, math.log(9)])
    teacher = logits([math.log(9), 0.0], [0.0, math.log(9)])
    # T = 2 makes log 9 into log 3: the teacher says (3/4, 1/4), the student (1/2, 1/2), then both
    # agree. Hard: -log 1/2 and -log 9/10.
    soft = (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)) / 2
    hard = (math.log(2) - math.log(0.9)) / 2
    loss = logit_distillation_loss(student, teacher, LABELS, alpha=0.3, temperature=2.0)
    assert loss.item() == pytest.approx(0.7 * hard + 0.3 * 4 * soft)


def test_alpha_zero_is_cross_entropy_and_ignores_the_teacher() -> None:
    student, labels = random_logits(0), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = logit_distillation_loss(student, random_logits(1), labels, alpha=0.0, temperature=3.0)
    torch.testing.assert_close(loss, F.cross_entropy(student, labels))


def test_alpha_one_ignores_the_labels() -> None:
    student, teacher = random_logits(0), random_logits(1)
    losses = [
        logit_distillation_loss(student, teacher, labels, alpha=1.0, temperature=2.0).item()
        for labels in (torch.zeros(6, dtype=torch.long), torch.full((6,), 2))
    ]
    assert losses[0] == losses[1] > 0


def test_gradient_of_the_soft_term_is_t_times_the_difference_of_probabilities() -> None:
    student, teacher, labels = random_logits(0), random_logits(1), torch.zeros(6, dtype=torch.long)
    for temperature in (1.0, 4.0):
        loss = logit_distillation_loss(student, teacher, labels, alpha=1.0, temperature=temperature)
        difference = (student / temperature).softmax(-1) - (teacher / temperature).softmax(-1)
        torch.testing.assert_close(gradient(loss, student), temperature * difference / 6)


def test_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    student, teacher, labels = random_logits(0), random_logits(1), torch.zeros(6, dtype=torch.long)
    loss = logit_distillation_loss(student, teacher, labels, alpha=1.0, temperature=1e5)
    apart = student - teacher
    limit = (apart - apart.mean(-1, keepdim=True)) / (3 * 6)
    torch.testing.assert_close(gradient(loss, student), limit.detach(), rtol=1e-2, atol=1e-5)


def test_a_student_that_equals_its_teacher_up_to_a_constant_gets_no_gradient() -> None:
    student, labels = random_logits(0), torch.zeros(6, dtype=torch.long)
    loss = logit_distillation_loss(student, student + 5.0, labels, alpha=1.0, temperature=2.0)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert gradient(loss, student).abs().max() < 1e-12


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher, labels = random_logits(0), random_logits(1), torch.zeros(6, dtype=torch.long)
    logit_distillation_loss(student, teacher, labels, alpha=0.5, temperature=2.0).backward()
    assert teacher.grad is None


def test_repeating_the_batch_changes_no_loss() -> None:
    student, teacher, labels = random_logits(0), random_logits(1), torch.tensor([0, 1, 2, 0, 1, 2])
    once = logit_distillation_loss(student, teacher, labels, alpha=0.5, temperature=2.0)
    twice = logit_distillation_loss(
        student.repeat(2, 1), teacher.repeat(2, 1), labels.repeat(2), alpha=0.5, temperature=2.0
    )
    torch.testing.assert_close(once, twice)


def test_product_of_experts_of_two_examples_is_the_one_worked_out_by_hand() -> None:
    model = logits([0.0, math.log(3)], [0.0, 0.0])
    bias = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64).log()
    # (1/4 * 9/10) : (3/4 * 1/10) = 3 : 1 for the first, so p(0) = 3/4; the second is undecided.
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert product_of_experts_loss(model, bias, LABELS).item() == pytest.approx(expected)


def test_product_with_a_uniform_bias_model_is_cross_entropy() -> None:
    model, labels = random_logits(0), torch.tensor([0, 1, 2, 0, 1, 2])
    bias = torch.full((6, 3), 1 / 3, dtype=torch.float64).log()
    torch.testing.assert_close(
        product_of_experts_loss(model, bias, labels), F.cross_entropy(model, labels)
    )


def test_what_the_bias_model_knows_leaves_less_gradient() -> None:
    def size(bias_right: float) -> float:
        model = logits([0.0, 0.0])
        bias = torch.tensor([[bias_right, 1 - bias_right]], dtype=torch.float64).log()
        loss = product_of_experts_loss(model, bias, torch.tensor([0]))
        return gradient(loss, model).abs().max().item()

    assert size(0.999) < size(0.9) < size(0.5) < size(0.1)


SIX = torch.tensor([0, 1, 2, 0, 1, 2])


def soften(logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Probabilities and their logarithms at T."""
    scaled = logits / temperature
    return scaled.softmax(-1), scaled.log_softmax(-1)


def kl_sum(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student), summed over batch and classes, written out."""
    (p, log_p), (_, log_q) = soften(teacher, temperature), soften(student, temperature)
    return (p * (log_p - log_q)).sum()


def rep_distiller(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    kd = kl_sum(student, teacher, t) * t**2 / len(student)
    return 0.1 * F.cross_entropy(student, SIX) + alpha * kd


def torchdistill(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    soft = kl_sum(student, teacher, t) / len(student)
    if alpha == 0:
        return soft
    return alpha * F.cross_entropy(student, SIX) + (1 - alpha) * t**2 * soft


def textbrewer(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    return -alpha * (soften(teacher, t)[0] * soften(student, t)[1]).sum(-1).mean()


def tinybert(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    return -alpha * (soften(teacher, t)[0] * soften(student, t)[1]).mean()


def distilbert(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    soft = kl_sum(student, teacher, t) / len(student) * t**2
    return alpha * soft + 2.0 * F.cross_entropy(student, SIX)


def takd(student: Tensor, teacher: Tensor, alpha: float, t: float) -> Tensor:
    soft = kl_sum(student, teacher, t) / student.numel()
    return (1 - alpha) * F.cross_entropy(student, SIX) + alpha * t * t * soft


WRITTEN_OUT: dict[str, tuple[Callable[[Tensor, Tensor, float, float], Tensor], float, float]] = {
    "rep-distiller": (rep_distiller, 0.9, 4.0),
    "torchdistill": (torchdistill, 0.9, 5.0),
    "textbrewer": (textbrewer, 1.0, 4.0),
    "tinybert": (tinybert, 1.0, 1.0),
    "distilbert": (distilbert, 5.0, 2.0),
    "takd": (takd, 0.4, 5.0),
}
"""Formula, alpha and temperature of each codebase, the numbers as it is run there."""


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_has_the_gradient_of_the_formula_written_out(name: str) -> None:
    formula, alpha, temperature = WRITTEN_OUT[name]
    student, teacher = random_logits(0), random_logits(1)
    ours = CONVENTIONS[name].loss(alpha, temperature)(student, teacher, SIX)
    theirs = formula(student, teacher.detach(), alpha, temperature)
    torch.testing.assert_close(gradient(ours, student), gradient(theirs, student))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("rep-distiller", lambda a, t, c: 1.0),
        ("torchdistill", lambda a, t, c: (1 - a) / a),
        ("textbrewer", lambda a, t, c: 1 / t**2),
        ("tinybert", lambda a, t, c: 1 / (c * t**2)),
        ("distilbert", lambda a, t, c: 1.0),
        ("takd", lambda a, t, c: 1 / c),
    ],
)
def test_the_teachers_gradient_is_ours_times_a_known_ratio(
    name: str, ratio: Callable[[float, float, int], float]
) -> None:
    student, teacher, alpha, temperature = random_logits(0), random_logits(1), 0.3, 3.0
    losses = [
        replace(convention.loss(alpha, temperature), hard_weight=0.0)(student, teacher, SIX)
        for convention in (OURS, CONVENTIONS[name])
    ]
    ours, theirs = (gradient(loss, student) for loss in losses)
    expected = torch.full_like(ours, ratio(alpha, temperature, 3))
    torch.testing.assert_close(theirs / ours, expected)


def test_torchdistill_drops_the_squared_temperature_where_alpha_is_zero() -> None:
    student, teacher = random_logits(0), random_logits(1)
    loss = CONVENTIONS["torchdistill"].loss(0.0, 3.0)(student, teacher, SIX)
    torch.testing.assert_close(loss, torchdistill(student, teacher, 0.0, 3.0))
    assert loss.item() < CONVENTIONS["torchdistill"].loss(1e-9, 3.0)(student, teacher, SIX).item()


def test_what_is_given_by_name_overrules_the_convention() -> None:
    loss = CONVENTIONS["takd"].loss(
        0.4, 2.0, hard_weight=3.0, temperature_squared=False, reduction="batchmean"
    )
    assert (loss.hard_weight, loss.soft_weight) == (3.0, 0.4)
    assert not loss.temperature_squared and loss.reduction == "batchmean"


def test_our_convention_is_the_loss_that_it_was_bit_for_bit() -> None:
    student, teacher = random_logits(0).float(), random_logits(1).float()
    hard = F.cross_entropy(student, SIX)
    soft = F.kl_div(
        F.log_softmax(student / 2.0, dim=-1),
        F.log_softmax(teacher / 2.0, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    before = (1 - 0.3) * hard + 0.3 * 2.0**2 * soft
    assert torch.equal(OURS.loss(0.3, 2.0)(student, teacher, SIX), before)


def test_the_mean_of_probabilities_is_taken_at_the_temperature_of_the_loss() -> None:
    teachers = torch.stack([random_logits(1).detach(), random_logits(2).detach()])
    combined = mean_of_probabilities(teachers, 3.0)
    expected = (teachers / 3.0).softmax(-1).mean(0)
    torch.testing.assert_close((combined / 3.0).softmax(-1), expected)
    assert not torch.allclose((teachers.mean(0) / 3.0).softmax(-1), expected)
