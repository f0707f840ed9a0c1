"""Vision transformer for image classification (https://arxiv.org/abs/2010.11929)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from transformers import ViTConfig, ViTForImageClassification

from distillation.checks import require, require_classes, require_heads


@dataclass(frozen=True, slots=True)
class ViTRecipe:
    """A ViT image classifier, initialised from scratch.

    Attributes:
        reads: Kind of its inputs.
        family: Architecture.
        classes: Names of the classes in the order of the logits.
        n_layers: Number of layers.
        d_model: Width of the residual stream; the MLPs are four times as wide.
        n_heads: Heads of each layer.
        image_size: Height and width that images are brought to, in pixels.
        patch_size: Height and width of a patch, in pixels.
        initializer_range: Standard deviation of the initial weights.
        dropout: Probability, everywhere.
    """

    reads: ClassVar[Literal["image"]] = "image"

    family: Literal["vit"]
    classes: tuple[str, ...]
    n_layers: int
    d_model: int
    n_heads: int
    image_size: int
    patch_size: int
    initializer_range: float = 0.03
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_layers", "d_model", "n_heads", "image_size", "patch_size"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require_heads(self.d_model, self.n_heads)
        require(
            self.image_size % self.patch_size == 0,
            "image_size",
            f"a multiple of patch_size = {self.patch_size}",
            self.image_size,
        )
        require(self.initializer_range > 0, "initializer_range", "above 0", self.initializer_range)
        require(0 <= self.dropout < 1, "dropout", "from 0 to below 1", self.dropout)
        require_classes(self.classes)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        return (
            f"ViT for image classification: {self.n_layers} layers, width {self.d_model}, "
            f"{self.n_heads} heads, images of {self.image_size} x {self.image_size} pixels in "
            f"patches of {self.patch_size} x {self.patch_size}"
        )

    def build(self) -> ViTForImageClassification:
        """Fresh weights from the global generator."""
        return ViTForImageClassification(
            ViTConfig(
                image_size=self.image_size,
                patch_size=self.patch_size,
                hidden_size=self.d_model,
                num_hidden_layers=self.n_layers,
                num_attention_heads=self.n_heads,
                intermediate_size=4 * self.d_model,
                hidden_dropout_prob=self.dropout,
                attention_probs_dropout_prob=self.dropout,
                initializer_range=self.initializer_range,
                id2label=dict(enumerate(self.classes)),
                label2id={name: i for i, name in enumerate(self.classes)},
            )
        )
