"""Small random image models in Hugging Face folders, and images to show them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from modelmaking import CLASSES
from PIL import Image
from transformers import (
    BaseImageProcessor,
    DeiTConfig,
    DeiTForImageClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from behavior.examples import ImageInput

SIZE = 16


def make_image_processor(size: int | None = SIZE, **options: Any) -> ViTImageProcessorPil:
    """A processor that resizes to a square, or leaves the size as it is."""
    if size is None:
        return ViTImageProcessorPil(do_resize=False, **options)
    return ViTImageProcessorPil(size={"height": size, "width": size}, **options)


def make_image_model(folder: Path, family: str = "vit", *, seed: int = 0, **sizes: Any) -> Path:
    """A classifier of images of 16 x 16 pixels with random weights, and its processor."""
    torch.manual_seed(seed)
    named = {
        "id2label": dict(enumerate(CLASSES)),
        "label2id": {name: i for i, name in enumerate(CLASSES)},
    }
    model: PreTrainedModel
    if family == "resnet":
        shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2]}
        config = ResNetConfig(layer_type="basic", **{**shape, **named, **sizes})
        model = ResNetForImageClassification(config)
    else:
        shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
        shape |= {"intermediate_size": 48, "image_size": SIZE, "patch_size": 4}
        if family == "vit":
            model = ViTForImageClassification(ViTConfig(**{**shape, **named, **sizes}))
        else:
            model = DeiTForImageClassification(DeiTConfig(**{**shape, **named, **sizes}))
    model.save_pretrained(folder)
    make_image_processor().save_pretrained(folder)
    return folder


def make_images(n: int, height: int = 20, width: int = 28, seed: int = 0) -> list[ImageInput]:
    """Noise in memory."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    return [ImageInput(one) for one in pixels]


def write_image(path: Path, image: ImageInput) -> ImageInput:
    """The same image as a file."""
    Image.fromarray(image.pixels()).save(path)
    return ImageInput(path)


def pixel_values(processor: BaseImageProcessor, image: ImageInput) -> torch.Tensor:
    """What a user gets from the processor alone."""
    return processor(images=Image.fromarray(image.pixels()), return_tensors="pt")["pixel_values"]
