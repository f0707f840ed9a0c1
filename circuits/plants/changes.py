"""Copies of a model with one known change: what a diff of two models has to find.

    student = silence_head(teacher, "a1.h2", pairs.clean)

The model itself is never touched. Each docstring says what stays the same.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import nn

from behavior.errors import DataError
from behavior.inputs import Input
from circuits.graph import PARTS
from circuits.plants.blocks import random_normal
from circuits.plants.copies import copy_model as copy_model
from circuits.plants.edge_changes import add_edge as add_edge
from circuits.plants.edge_changes import cut_edge as cut_edge
from circuits.plants.weights import bias_of, head_reader, head_writer
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.rows import LayerModules

_RANK = 1e-9
"""Singular values below this share of the largest are nothing."""


@torch.no_grad()
def scale_head(model: PatchableModel, head: str, alpha: float) -> PatchableModel:
    """A head writes alpha times as much; what it reads and all other nodes stay.

    Raises:
        DataError: If the model has no such head.
    """
    changed = copy_model(model)
    row, index = _head(changed, head)
    head_writer(row, index).mul_(alpha)
    return changed


def silence_head(model: PatchableModel, head: str, inputs: Sequence[Input]) -> PatchableModel:
    """A head writes the mean of what it writes on some inputs, whatever it reads.

    Raises:
        DataError: If the model has no such head.
    """
    _head(model, head)
    hf = model.ablate([head], inputs).hf
    return PatchableModel(hf, model.processor, model.architecture, f"{model.name}-changed")


@torch.no_grad()
def permute_heads(
    model: PatchableModel, row: str, order: Sequence[int], seed: int = 0
) -> PatchableModel:
    """The heads of a row in another order, each with its values rotated; the logits stay.

    Args:
        model: The model.
        row: Such as `a1`.
        order: [head] which old head each new one is.
        seed: Of the rotations.

    Raises:
        DataError: If there is no such row, or the order is none.
    """
    changed = copy_model(model)
    there, here = _row(model, row), _row(changed, row)
    if sorted(order) != list(range(here.n_heads)):
        raise DataError(f"{list(order)} is no order of {here.n_heads} heads.")
    for new, old in enumerate(order):
        random = random_normal(seed, f"{row} {new}", (here.d_head, here.d_head))
        rotation = torch.linalg.qr(random)[0].to(model.device, model.dtype)
        for part in PARTS:
            turn = rotation if part == "v" else torch.eye(here.d_head).to(rotation)
            for mine, theirs in zip(
                head_reader(here, part, new), head_reader(there, part, old), strict=True
            ):
                mine.copy_(turn @ theirs)
        head_writer(here, new).copy_(head_writer(there, old) @ rotation.T)
    return changed


def drop_layer(model: PatchableModel, layer: int) -> PatchableModel:
    """A layer less: the stream goes on as if it wrote nothing (and, post-norm, were not there).

    Raises:
        DataError: If there is no such layer, no other, or the model has several stacks.
    """
    stack, *others = model.architecture.stacks
    if others or "*" in stack.layers or stack.n_layers is None:
        raise DataError(f"No layer of a {model.architecture.model_class} can be dropped.")
    if not 0 <= layer < model.spec.n_layers or model.spec.n_layers == 1:
        raise DataError(f"Layer {layer} of {model.spec.n_layers} cannot be dropped.")
    hf = deepcopy(model.hf)
    layers = cast(nn.ModuleList, hf.get_submodule(stack.layers))
    del layers[layer]
    setattr(hf.config, stack.n_layers, len(layers))
    for index, one in enumerate(layers):
        for module in one.modules():
            if hasattr(module, "layer_idx"):
                cast(Any, module).layer_idx = index
    return PatchableModel(hf, model.processor, model.architecture, f"{model.name}-changed")


@torch.no_grad()
def split_head(model: PatchableModel, head: str, into: str, share: float = 0.5) -> PatchableModel:
    """Another head of the row takes over a share of what a head writes, and loses its own.

    The logits stay if the other head did not matter.

    Raises:
        DataError: If the heads are not two of one row.
    """
    changed = copy_model(model)
    row, one, other = _two_heads(changed, head, into)
    for part in PARTS:
        for mine, theirs in zip(
            head_reader(row, part, other), head_reader(row, part, one), strict=True
        ):
            mine.copy_(theirs)
    head_writer(row, other).copy_(share * head_writer(row, one))
    head_writer(row, one).mul_(1 - share)
    return changed


@torch.no_grad()
def fuse_heads(model: PatchableModel, head: str, other: str) -> PatchableModel:
    """One head does what two did, with the pattern of the first; the other says nothing.

    The logits stay if both had the same pattern.

    Raises:
        DataError: If the heads are not two of one row, or do more than one head can.
    """
    changed = copy_model(model)
    row, one, second = _two_heads(changed, head, other)
    maps, constant = torch.zeros(()), torch.zeros(())
    for index in (one, second):
        weight, bias = head_reader(row, "v", index)
        maps = maps + head_writer(row, index) @ weight
        constant = constant + head_writer(row, index) @ bias
    left, sizes, right = torch.linalg.svd(maps, full_matrices=False)
    n = row.d_head
    if bool((sizes[n:] > _RANK * sizes[0]).any()):
        raise DataError(f"{head} and {other} together do more than one head of width {n} can.")
    weight, bias = head_reader(row, "v", one)
    scale = sizes[:n].sqrt()
    weight.copy_(scale[:, None] * right[:n])
    bias.zero_()
    head_writer(row, one).copy_(left[:, :n] * scale)
    head_writer(row, second).zero_()
    bias_of(row.o).add_(constant)
    return changed


@torch.no_grad()
def add_constant(model: PatchableModel, label: str, amount: float) -> PatchableModel:
    """The logit of one class is larger by a constant, on every input.

    Raises:
        DataError: If there is no such class, or the classifier has no bias.
    """
    if label not in model.spec.classes:
        raise DataError(f"No class {label!r}; expected one of: {', '.join(model.spec.classes)}.")
    changed = copy_model(model)
    last: Any = changed.modules.head[-1]
    if getattr(last, "bias", None) is None:
        raise DataError(f"The classifier of a {model.architecture.model_class} has no bias.")
    bias_of(last)[model.spec.classes.index(label)] += amount
    return changed


def _head(model: PatchableModel, head: str) -> tuple[LayerModules, int]:
    site: Site = model.site(head)
    if site.head is None or model.row(site).q is None:
        raise DataError(f"{head!r} is no attention head. Give one such as 'a0.h0'.")
    return model.row(site), site.head


def _two_heads(model: PatchableModel, head: str, other: str) -> tuple[LayerModules, int, int]:
    (row, one), (second_row, second) = _head(model, head), _head(model, other)
    if row is not second_row or one == second:
        raise DataError(f"{head!r} and {other!r} are not two heads of one row.")
    return row, one, second


def _row(model: PatchableModel, name: str) -> LayerModules:
    rows = {row.name: row for row in model.modules.layers if row.q is not None}
    if name not in rows:
        raise DataError(f"No row of heads {name!r}; expected one of: {', '.join(rows)}.")
    return rows[name]
