"""Residual network for image classification (https://arxiv.org/abs/1512.03385).

The stem is that of the large nets, a 7 x 7 convolution of stride 2 and a max-pool of stride 2, so
the first stage sees a quarter of the image's height and width, and each further one half of
that. BatchNorm uses the statistics of the batch in training and its running ones afterwards.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from transformers import ResNetConfig, ResNetForImageClassification

from distillation.checks import require, require_classes


@dataclass(frozen=True, slots=True)
class ResNetRecipe:
    """A ResNet image classifier, initialised from scratch.

    Attributes:
        reads: Kind of its inputs.
        family: Architecture.
        classes: Names of the classes in the order of the logits.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        stem_width: Channels of the stem.
        image_size: Height and width that images are brought to, in pixels.
        block: Two 3 x 3 convolutions, or a 3 x 3 one between two 1 x 1 ones.
    """

    reads: ClassVar[Literal["image"]] = "image"

    family: Literal["resnet"]
    classes: tuple[str, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    stem_width: int
    image_size: int
    block: Literal["basic", "bottleneck"] = "basic"

    def __post_init__(self) -> None:
        for name in ("widths", "depths"):
            sizes: tuple[int, ...] = getattr(self, name)
            fine = len(sizes) >= 1 and min(sizes) >= 1
            require(fine, name, "one number of at least 1 for each stage", sizes)
        n_stages = len(self.depths)
        require(
            len(self.widths) == n_stages,
            "widths",
            f"as many as depths, which has {n_stages}",
            self.widths,
        )
        require(self.stem_width >= 1, "stem_width", "at least 1", self.stem_width)
        least = 2 ** (n_stages + 1)
        require(
            self.image_size >= least,
            "image_size",
            f"at least {least}, as {n_stages} stages need",
            self.image_size,
        )
        require_classes(self.classes)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return sum(self.depths)

    @property
    def architecture(self) -> str:
        """One line for the model card."""
        stages = ", ".join(f"{d} x {w}" for d, w in zip(self.depths, self.widths, strict=True))
        return (
            f"ResNet for image classification: stem {self.stem_width}, stages of {self.block} "
            f"blocks x channels {stages}, images of {self.image_size} x {self.image_size} pixels"
        )

    def build(self) -> ResNetForImageClassification:
        """Fresh weights from the global generator."""
        return ResNetForImageClassification(
            ResNetConfig(
                embedding_size=self.stem_width,
                hidden_sizes=list(self.widths),
                depths=list(self.depths),
                layer_type=self.block,
                id2label=dict(enumerate(self.classes)),
                label2id={name: i for i, name in enumerate(self.classes)},
            )
        )
