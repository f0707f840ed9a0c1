"""Logits of inputs that are mixtures of two: images of their pixels, texts of their embeddings."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from distillation.classifier import Classifier
from distillation.data import EncodedInputs


def mixed_logits(
    classifier: Classifier,
    model: nn.Module,
    inputs: EncodedInputs,
    items: Int[Tensor, " batch"],
    partners: Int[Tensor, " batch"],
    share: float,
) -> Float[Tensor, "batch n_classes"]:
    """Logits of items that are mixed with partners.

    A position of a text counts where either of the two has a token. Where the answer is read at
    the end of the text, it is the end of the item's own.

    Args:
        classifier: What is called.
        model: The network as it is wrapped for training.
        inputs: All items.
        items: Which are mixed.
        partners: With which others.
        share: Of the items in the mixture; 1 is the items alone.
    """
    device = classifier.model.device
    both = inputs.take(torch.cat([items, partners]))
    ours = {name: column[: len(items)].to(device) for name, column in both.items()}
    theirs = {name: column[len(items) :].to(device) for name, column in both.items()}
    batch = {name: _mix_column(name, ours[name], theirs[name], share) for name in both}
    if "input_ids" not in both:
        return classifier.logits(batch, model)
    with _mixed_embeddings(classifier.model, ours["input_ids"], theirs["input_ids"], share):
        return classifier.logits(batch, model)


def _mix_column(name: str, ours: Tensor, theirs: Tensor, share: float) -> Tensor:
    if name == "attention_mask":
        return torch.maximum(ours, theirs)
    return share * ours + (1 - share) * theirs if ours.is_floating_point() else ours


@contextmanager
def _mixed_embeddings(
    model: PreTrainedModel,
    ours: Int[Tensor, "batch pos"],
    theirs: Int[Tensor, "batch pos"],
    share: float,
) -> Generator[None]:
    """The partners' tokens go into the embedding of ours; a decoder that is fed them follows.

    A decoder sees the tokens shifted by one, behind its start token, and may have an embedding of
    its own with the same weights.
    """
    weight = cast(nn.Embedding, model.get_input_embeddings()).weight

    def mix(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        ids = given[0]
        if ids.shape != ours.shape:
            return out
        shifted = torch.cat([ids[:, :1], theirs[:, :-1]], dim=1)
        others = theirs if torch.equal(ids, ours) else shifted
        return share * out + (1 - share) * F.embedding(others, weight)

    hooks = [
        module.register_forward_hook(mix)
        for module in model.modules()
        if isinstance(module, nn.Embedding) and module.weight is weight
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
