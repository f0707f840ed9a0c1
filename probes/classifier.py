"""A model's own classifier as a function of a stream: from what it reads to the logits.

The declared steps (`Architecture.head`) first choose a position, or the mean of all, and then
apply the model's own modules to that state. On the stream after the last row this gives the
model's logits; on an earlier one it is the logit lens (`probes.lens`).
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.errors import UnsupportedModelError
from patching.models.model import PatchableModel

ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": F.gelu,
}
"""Steps that act on each number."""

POSITIONS = ("first token", "last token", "end of text", "mean")


def read_state(
    model: PatchableModel,
    batch: Mapping[str, Tensor],
    stream: Float[Tensor, "batch pos d_model"],
) -> Float[Tensor, "batch d_model"]:
    """What the classifier reads of a stream: one position of each input, or their mean."""
    step = next(step for step in model.modules.head if step in POSITIONS)
    if step == "mean":
        return stream.mean(dim=-2)
    where = read_position(model, batch, str(step))
    return stream[torch.arange(len(where), device=where.device), where]


def classify(
    model: PatchableModel, state: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch n_classes"]:
    """Logits of the classes, from what `read_state` chose."""
    for step in model.modules.head:
        if isinstance(step, nn.Module):
            state = step(state)
        elif step in ELEMENTWISE:
            state = ELEMENTWISE[step](state)
    logits = state * answer_scale(model)
    return logits if model.word_ids is None else logits[:, list(model.word_ids)]


def read_position(
    model: PatchableModel, batch: Mapping[str, Tensor], step: str
) -> Int[Tensor, " batch"]:
    """The position that the classifier reads of each input.

    Raises:
        UnsupportedModelError: If the family declares a step that is not known.
    """
    if step == "first token":
        n = len(next(iter(batch.values())))
        return torch.zeros(n, dtype=torch.long, device=model.device)
    ids = batch["input_ids"]
    if step == "last token":
        wanted = ids != model.hf.config.pad_token_id
    elif step == "end of text":
        wanted = ids == model.hf.config.eos_token_id
    else:
        raise UnsupportedModelError(
            f"The declaration of {model.architecture.family!r} has an unknown step {step!r} in "
            f"head; expected one of: {', '.join((*POSITIONS, *ELEMENTWISE))}, or a module."
        )
    places = torch.arange(ids.shape[1], device=ids.device)
    return (places * wanted).argmax(dim=-1)


def answer_scale(model: PatchableModel) -> float:
    """T5 multiplies its last stream by 1 / sqrt(d_model) where it ties embedding and answer."""
    scales = model.architecture.label_words and model.hf.config.scale_decoder_outputs
    return model.spec.d_model**-0.5 if scales else 1.0
