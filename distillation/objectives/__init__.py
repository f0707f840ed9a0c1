"""Objectives, one per file, and the names that recipes call them by."""

from distillation.objectives.balanced_sampling import BalancedSampling
from distillation.objectives.confidence_regularisation import ConfidenceRegularisation
from distillation.objectives.debiased_focal import DebiasedFocalLoss
from distillation.objectives.dfr import DFR
from distillation.objectives.generalised_cross_entropy import GeneralisedCrossEntropy
from distillation.objectives.group_dro import GroupDRO
from distillation.objectives.jtt import JTT
from distillation.objectives.kernel_whitening import KernelWhitening
from distillation.objectives.learned_mixin import LearnedMixin
from distillation.objectives.lff import LfF
from distillation.objectives.logit_distillation import LogitDistillation
from distillation.objectives.objective import (
    ClosedForm,
    Criterion,
    LogitObjective,
    Materials,
    Need,
    Objective,
    Signals,
    SteppedObjective,
)
from distillation.objectives.pgd import PGD
from distillation.objectives.plain import Plain
from distillation.objectives.product_of_experts import ProductOfExperts
from distillation.objectives.refitted_head import RefittedHead
from distillation.objectives.resampling import Resampling
from distillation.objectives.reweighting import Reweighting
from distillation.objectives.selective_mixup import SelectiveMixup
from distillation.objectives.self_debiasing import SelfDebiasing

__all__ = [
    "OBJECTIVES",
    "ClosedForm",
    "Criterion",
    "LogitObjective",
    "Materials",
    "Need",
    "Objective",
    "Signals",
    "SteppedObjective",
    "objective_name",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "balanced-sampling": BalancedSampling,
    "confidence-regularisation": ConfidenceRegularisation,
    "debiased-focal": DebiasedFocalLoss,
    "dfr": DFR,
    "generalised-cross-entropy": GeneralisedCrossEntropy,
    "group-dro": GroupDRO,
    "jtt": JTT,
    "kernel-whitening": KernelWhitening,
    "learned-mixin": LearnedMixin,
    "lff": LfF,
    "logit-distillation": LogitDistillation,
    "pgd": PGD,
    "plain": Plain,
    "product-of-experts": ProductOfExperts,
    "refitted-head": RefittedHead,
    "resampling": Resampling,
    "reweighting": Reweighting,
    "selective-mixup": SelectiveMixup,
    "self-debiasing": SelfDebiasing,
}
"""Adding an objective is one file and one line here."""


def objective_name(objective: Objective) -> str:
    """The name that recipes call an objective by."""
    return next(name for name, kind in OBJECTIVES.items() if kind is type(objective))
