"""What may bring a teacher's debiasing back: better data, or the teacher's weights.

The third remedy, distilling through an assistant of middle size or through generations of students,
needs no code: it is a recipe whose teacher is itself a distilled recipe.
"""

from distillation.remedies.augmentation import AugmentingItems, AugmentRecipe, read_augmentation
from distillation.remedies.norms import estimate_norms
from distillation.remedies.start import copy_weights
from distillation.remedies.twins import (
    TWIN,
    KnowsTrainingQuads,
    counterfactual_twins,
    recoloured_twins,
)

__all__ = [
    "TWIN",
    "AugmentRecipe",
    "AugmentingItems",
    "KnowsTrainingQuads",
    "copy_weights",
    "counterfactual_twins",
    "estimate_norms",
    "read_augmentation",
    "recoloured_twins",
]
