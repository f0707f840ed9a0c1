"""Networks that a recipe can ask for, one family per file, and the names recipes call them by."""

from distillation.families.bert import BertRecipe
from distillation.families.resnet import ResNetRecipe
from distillation.families.vit import ViTRecipe

__all__ = ["FAMILIES", "BertRecipe", "ModelRecipe", "ResNetRecipe", "ViTRecipe"]

ModelRecipe = BertRecipe | ViTRecipe | ResNetRecipe

FAMILIES: dict[str, type[ModelRecipe]] = {
    "bert": BertRecipe,
    "vit": ViTRecipe,
    "resnet": ResNetRecipe,
}
"""Adding a family is one file, one line here and one in `ModelRecipe`."""
