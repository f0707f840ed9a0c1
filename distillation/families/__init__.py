"""Networks that a recipe can ask for, one family per file, and the names recipes call them by."""

from distillation.families.bert import BertRecipe
from distillation.families.pretrained import PretrainedRecipe
from distillation.families.resnet import ResNetRecipe
from distillation.families.t5 import T5Recipe
from distillation.families.vit import ViTRecipe

__all__ = [
    "FAMILIES",
    "BertRecipe",
    "ModelRecipe",
    "PretrainedRecipe",
    "ResNetRecipe",
    "T5Recipe",
    "ViTRecipe",
]

ModelRecipe = BertRecipe | T5Recipe | ViTRecipe | ResNetRecipe | PretrainedRecipe

FAMILIES: dict[str, type[ModelRecipe]] = {
    "bert": BertRecipe,
    "t5": T5Recipe,
    "vit": ViTRecipe,
    "resnet": ResNetRecipe,
    "pretrained": PretrainedRecipe,
}
"""Adding a family is one file, one line here and one in `ModelRecipe`."""
