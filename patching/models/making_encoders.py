"""Makes the encoder that fits a model: of texts, or of images."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import BaseImageProcessor

from patching.models.encoders import Encoder
from patching.models.encoding import TextEncoder
from patching.models.image_encoding import ImageEncoder
from patching.models.processors import image_size

if TYPE_CHECKING:
    from patching.models.model import PatchableModel

_PROBED = (64, 64)
"""Height and width of an image, in pixels, for a model that takes any."""


def image_shape(model: "PatchableModel", encoder: ImageEncoder) -> tuple[int, int, int]:
    """Channels, height and width of an image that the model takes."""
    height, width = encoder.fixed_size or image_size(model.hf.config) or _PROBED
    return getattr(model.hf.config, "num_channels", 3), height, width


def make_encoder(model: "PatchableModel", prompt: str | None) -> Encoder[Any]:
    """A text encoder, or an image encoder that knows how many positions the model makes.

    Args:
        model: Opened but for its encoder.
        prompt: What makes one text of each input; None where texts are read as they are.
    """
    if not isinstance(model.processor, BaseImageProcessor):
        return TextEncoder(
            model.processor,
            model.spec.max_length,
            model.device,
            takes_types=model.spec.n_token_types > 1,
            prompt=prompt,
        )
    size = image_size(model.hf.config)
    encoder = ImageEncoder(
        model.processor, model.device, model.dtype, n_positions=1, image_size=size
    )
    blank = torch.zeros(1, *image_shape(model, encoder))
    with model.hooks.reading([model.modules.entries[0].site("resid_pre")]) as values:
        model.forward({"pixel_values": blank.to(model.device, model.dtype)})
    (embedded,) = values.values()
    encoder.n_positions = embedded.shape[1]
    return encoder
