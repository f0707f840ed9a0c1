"""What follows the last stream of a model, as a map that changes can be carried through.

The declared steps (`Architecture.head`) choose positions, apply linear maps and norms, or act on
each number; the readout then makes one logit of several classes, and the margin of two labels.
Changes pass each step by its secant, so that nothing is left over at the margin.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.readout import Readout
from circuits.secants import elementwise_secant, norm_secant
from patching.models.model import PatchableModel
from probes.classifier import ELEMENTWISE, answer_scale, read_position

Carried = tuple[Tensor, Tensor, Tensor]
"""A value in the first run, in the second, and the writers' changes along a leading axis."""


def margin_changes(
    model: PatchableModel,
    batch: Mapping[str, Tensor],
    streams: tuple[Float[Tensor, "batch pos d_model"], Float[Tensor, "batch pos d_model"]],
    changes: Float[Tensor, "writer batch pos d_model"],
    readout: Readout,
    labels: Int[Tensor, " batch"],
    foils: Int[Tensor, " batch"],
) -> Float[Tensor, "writer batch"]:
    """By how much each writer's change moves the margin directly, in logits; the sum is exact.

    Args:
        model: The model.
        batch: Keyword arguments of either run, which are aligned.
        streams: After the last row, in the first and in the second run.
        changes: Of the writers, at the last stream.
        readout: From classes to labels.
        labels: [pair] position of the label among the readout's labels.
        foils: [pair] position of the foil.
    """
    carried: Carried = (*streams, changes)
    for step in model.modules.head:
        carried = _through(model, batch, step, carried)
    scale = answer_scale(model)
    first, second, moved = (scale * value for value in _class_logits(model, carried))
    parts = [_label(readout, members, (first, second, moved)) for members in readout.members]
    by_label = torch.stack(parts, dim=-1)
    index = torch.stack([labels, foils], dim=-1).to(moved.device)
    chosen = by_label.gather(-1, index.expand(len(moved), -1, -1))
    return chosen[..., 0] - chosen[..., 1]


def _through(
    model: PatchableModel, batch: Mapping[str, Tensor], step: nn.Module | str, carried: Carried
) -> Carried:
    first, second, changes = carried
    if isinstance(step, nn.Linear):
        return step(first), step(second), changes @ step.weight.T
    if isinstance(step, nn.Module):
        return step(first), step(second), norm_secant(step, first, second)(changes)
    if step in ELEMENTWISE:
        function = ELEMENTWISE[step]
        secant = elementwise_secant(function, first, second)
        return function(first), function(second), secant(changes)
    if step == "mean":
        return first.mean(dim=-2), second.mean(dim=-2), changes.mean(dim=-2)
    where = read_position(model, batch, step)
    rows = torch.arange(len(where), device=where.device)
    return first[rows, where], second[rows, where], changes[:, rows, where]


def _class_logits(model: PatchableModel, carried: Carried) -> Carried:
    """The logits of a model that answers with words are those of its label words."""
    words = model.word_ids
    if words is None:
        return carried
    first, second, changes = (value[..., list(words)] for value in carried)
    return first, second, changes


def _label(readout: Readout, members: Sequence[int], logits: Carried) -> Tensor:
    """The change of one label's logit: of its class, or of what several classes make together."""
    carried = [cast(Carried, tuple(value[..., i] for value in logits)) for i in members]
    first, second, changes = carried[0]
    for one, other, moved in carried[1:]:
        gap = (one - first, other - second)
        join = F.softplus if readout.collapse == "logsumexp" else torch.relu
        secant = elementwise_secant(join, *gap)
        changes = changes + secant(moved - changes)
        first, second = first + join(gap[0]), second + join(gap[1])
    return changes
