"""Objectives, one per file, and the names that recipes call them by."""

from distillation.objectives.logit_distillation import LogitDistillation
from distillation.objectives.objective import (
    Criterion,
    LogitObjective,
    Materials,
    Need,
    Objective,
    Signals,
)
from distillation.objectives.plain import Plain
from distillation.objectives.product_of_experts import ProductOfExperts
from distillation.objectives.resampling import Resampling

__all__ = [
    "OBJECTIVES",
    "Criterion",
    "LogitObjective",
    "Materials",
    "Need",
    "Objective",
    "Signals",
    "objective_name",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "logit-distillation": LogitDistillation,
    "plain": Plain,
    "product-of-experts": ProductOfExperts,
    "resampling": Resampling,
}
"""Adding an objective is one file and one line here."""


def objective_name(objective: Objective) -> str:
    """The name that recipes call an objective by."""
    return next(name for name, kind in OBJECTIVES.items() if kind is type(objective))
