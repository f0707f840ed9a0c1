"""Answers of models that do not exist: margins with a chosen core and shortcut effect."""

from dataclasses import replace

import torch

from behavior.answers import QuadAnswers
from behavior.examples import CELLS, Cell

CORE: dict[Cell, int] = {"A": 1, "N": 1, "C": -1, "L": -1}
SHORTCUT: dict[Cell, int] = {"A": 1, "N": -1, "C": 1, "L": -1}


def simulate_answers(
    core: float,
    shortcut: float,
    *,
    seed: int = 0,
    n: int = 120,
    n_labels: int = 2,
    noise: float = 3.0,
    n_templates: int = 6,
) -> QuadAnswers:
    """Logits whose margin is core +- shortcut plus noise; label and foil vary over the quads."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % n_labels
    foil = (label + 1) % n_labels
    logits: dict[Cell, torch.Tensor] = {}
    for cell in CELLS:
        push = core * CORE[cell] + shortcut * SHORTCUT[cell]
        scores = noise * torch.randn(n, n_labels, generator=generator, dtype=torch.float64)
        logits[cell] = scores.scatter_add(
            1, label[:, None], torch.full((n, 1), push, dtype=scores.dtype)
        )
    units = tuple(f"q{i:04d}" for i in range(n))
    return QuadAnswers(logits, label, foil, units, tuple(f"t{i % n_templates}" for i in range(n)))


def shift_margin(answers: QuadAnswers, constant: float) -> QuadAnswers:
    """The same model with a constant added to the logit of each quad's label."""
    logits = {
        cell: scores.scatter_add(
            1, answers.label[:, None], torch.full_like(scores[:, :1], constant)
        )
        for cell, scores in answers.logits.items()
    }
    return replace(answers, logits=logits)


def duplicate(answers: QuadAnswers) -> QuadAnswers:
    """Every quad twice, under its own id."""
    return QuadAnswers(
        {cell: torch.cat([scores, scores]) for cell, scores in answers.logits.items()},
        torch.cat([answers.label, answers.label]),
        torch.cat([answers.foil, answers.foil]),
        answers.units * 2,
        answers.templates * 2,
    )
