"""A net as it was before training: what its architecture alone makes readable."""

import copy

import torch
from transformers import BaseImageProcessor

from patching import PatchableModel


def untrained_like(model: PatchableModel, seed: int = 0) -> PatchableModel:
    """A model of the same config with new initial weights, which depend on the seed alone.

    It reads inputs as the model does: same processor, prompt and label words. The global random
    state is left as it was.

    Raises:
        CheckpointError: If the model answers with words that its tokenizer does not give back.
    """
    config = copy.deepcopy(model.hf.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = type(model.hf)(config)
    torch.nn.Module.to(hf, device=model.device, dtype=model.dtype)
    prompt = getattr(model.encoder, "prompt", None)
    return PatchableModel(
        hf,
        model.processor,
        model.architecture,
        name=f"{model.name} (untrained)",
        prompt=None if prompt is None else prompt.template,
        label_words=_label_words(model),
    )


def _label_words(model: PatchableModel) -> dict[str, str] | None:
    if model.word_ids is None or isinstance(model.processor, BaseImageProcessor):
        return None
    words = [str(model.tokenizer.decode([token])) for token in model.word_ids]
    return dict(zip(model.spec.classes, words, strict=True))
