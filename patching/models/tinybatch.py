"""A few random inputs that any model of a family takes, without a text or an image."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from patching.models.encoding import Encoded
from patching.models.image_encoding import ImageEncoder
from patching.models.making_encoders import image_shape

if TYPE_CHECKING:
    from patching.models.model import PatchableModel

_LENGTHS = (7, 5)


def tiny_batch(model: "PatchableModel") -> dict[str, Tensor]:
    """Two inputs, of which the second text is shorter; the same for every call."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(model.encoder, ImageEncoder):
        return {"pixel_values": _pixels(model, generator)}
    rows = [_text(model, length, generator) for length in _LENGTHS]
    return model.encoder.batch(rows)


def _text(model: "PatchableModel", length: int, generator: torch.Generator) -> Encoded:
    """Random tokens; an encoder-decoder needs one end of text, where it has to be."""
    ids = torch.randint(len(model.tokenizer), (length,), generator=generator)
    if model.hf.config.is_encoder_decoder:
        end = model.hf.config.eos_token_id
        spare = next(i for i in range(len(model.tokenizer)) if i not in _special(model))
        ids[torch.isin(ids, torch.tensor(_special(model)))] = spare
        ids[-1] = end
    return Encoded(ids.int().numpy(), torch.zeros(length, dtype=torch.int8).numpy())


def _special(model: "PatchableModel") -> list[int]:
    config = model.hf.config
    return [i for i in (config.eos_token_id, config.pad_token_id) if i is not None]


def _pixels(model: "PatchableModel", generator: torch.Generator) -> Tensor:
    encoder = model.encoder
    assert isinstance(encoder, ImageEncoder), "the caller looked"
    values = torch.randn(len(_LENGTHS), *image_shape(model, encoder), generator=generator)
    return values.to(model.device, model.dtype)
