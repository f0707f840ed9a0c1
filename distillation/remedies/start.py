"""A start from another model's weights: chosen layers, and of a wider model chosen channels.

Layer i of the model becomes layer `layers[i]` of the source; embeddings and head are copied, the
rows of the head by the names of the classes. T5 has the same layers in both stacks, and its
relative attention bias, which only layer 0 holds, comes from the source's layer 0 whatever becomes
layer 0. The layers of a ResNet are its blocks, counted through all stages; a block that changes
width or height needs one that changes them alike.

With `select: uniform` a narrower model takes evenly spaced channels of every axis (Xu et al. 2024,
https://arxiv.org/abs/2311.18823): every (N / n)-th where n divides N, else round(linspace(0, N - 1,
n)). An axis always gives the same channels, so the residual stream stays one. Attention heads stay
whole: whole heads are chosen, or named, and within each the same channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from behavior.errors import RecipeError
from distillation.classifier import class_names
from patching.models.architecture import Architecture
from patching.models.binding import bind
from patching.models.families import find_architecture
from patching.models.rows import LayerModules

_BIAS_OF_LAYER_0 = "relative_attention_bias"
_POSITIONS = "position_embeddings"

Axis = tuple[str, int]
"""Name of a weight, and one of its axes."""


@dataclass(frozen=True, slots=True)
class _Heads:
    """How the heads of two models lie along an axis."""

    ours: int
    theirs: int
    chosen: tuple[int, ...]

    def index(self, n_ours: int, n_theirs: int) -> Int[Tensor, " n_ours"]:
        within = evenly(n_ours // self.ours, n_theirs // self.theirs)
        first = torch.tensor(self.chosen) * (n_theirs // self.theirs)
        return (first[:, None] + within).flatten()


def copy_weights(
    model: PreTrainedModel,
    source: PreTrainedModel,
    layers: Sequence[int] | None = None,
    *,
    select: Literal["uniform"] | None = None,
    heads: Sequence[int] | None = None,
) -> None:
    """Start a model from another one, in place.

    Args:
        model: Is given weights.
        source: Whose weights; as wide, or wider with `select`.
        layers: Its layers that become ours, in order; None copies a source of the same depth.
        select: What is taken of a wider source.
        heads: With `select`, its heads that become ours; None takes them evenly.

    Raises:
        RecipeError: If a layer or head is not there, classes or shapes differ.
    """
    moved = _moved_layers(model, source, layers)
    weights = source.state_dict()
    given = {name: weights.get(_renamed(name, moved)) for name in model.state_dict()}
    given = {**given, **_head_by_class(model, source)}
    axes = {} if select is None else _head_axes(model, source, heads)
    fixed = _fixed_axes(model)
    copied: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        theirs = given[name]
        if theirs is not None and select is not None:
            theirs = _selected(name, tuple(value.shape), theirs, axes, fixed)
        if theirs is None or theirs.shape != value.shape:
            shape = None if theirs is None else tuple(theirs.shape)
            raise RecipeError(
                f"start copies {name} of shape {tuple(value.shape)}, but the source has {shape}. "
                "Use a source of the same family, width, inputs and classes; of a wider one, "
                "start.select: uniform takes a part."
            )
        copied[name] = theirs
    model.load_state_dict(copied)


def evenly(n: int, total: int) -> Int[Tensor, " n"]:
    """Evenly spaced numbers from 0 to below `total`, n of them."""
    if total % n == 0:
        return torch.arange(n) * (total // n)
    return torch.linspace(0, total - 1, n).round().long()


def _moved_layers(
    model: PreTrainedModel, source: PreTrainedModel, layers: Sequence[int] | None
) -> dict[str, str]:
    """Prefix of each of our layers, and of the layer of the source that it becomes."""
    ours, theirs = _layer_prefixes(model), _layer_prefixes(source)
    moved: dict[str, str] = {}
    for mine, other in zip(ours, theirs, strict=False):
        chosen = tuple(range(len(other))) if layers is None else tuple(layers)
        if any(i >= len(other) for i in chosen) or len(chosen) != len(mine):
            raise RecipeError(
                f"start takes layers {chosen} of a model with {len(other)} layers for a model with "
                f"{len(mine)}. Name one existing layer for each of ours in start.layers."
            )
        moved |= {prefix: other[layer] for prefix, layer in zip(mine, chosen, strict=True)}
    return moved


def _layer_prefixes(model: PreTrainedModel) -> list[tuple[str, ...]]:
    """Of each stack, what the names of the weights of its layers start with."""
    return [
        tuple(
            f"{path}.{i}." for path in _lists(model, stack.layers) for i in range(_n(model, path))
        )
        for stack in _architecture(model).stacks
    ]


def _lists(model: PreTrainedModel, path: str) -> list[str]:
    before, starred, after = path.partition(".*")
    return [f"{before}.{i}{after}" for i in range(_n(model, before))] if starred else [path]


def _n(model: PreTrainedModel, path: str) -> int:
    return len(cast("nn.ModuleList", model.get_submodule(path)))


def _renamed(name: str, moved: Mapping[str, str]) -> str:
    if _BIAS_OF_LAYER_0 in name:
        return name
    for ours, theirs in moved.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _head_by_class(model: PreTrainedModel, source: PreTrainedModel) -> dict[str, Tensor]:
    """The rows of the source's head in the order of our classes; nothing if classes are words."""
    ours, theirs = class_names(model), class_names(source)
    if sorted(ours) != sorted(theirs):
        raise RecipeError(
            f"start copies a head for the classes {', '.join(theirs)}, but the model's are "
            f"{', '.join(ours)}. Use a source with the same classes."
        )
    architecture = _architecture(source)
    if architecture.label_words:
        return {}
    order = torch.tensor([theirs.index(name) for name in ours])
    last = f"{architecture.head[-1]}."
    return {
        name: value[order] for name, value in source.state_dict().items() if name.startswith(last)
    }


def _head_axes(
    model: PreTrainedModel, source: PreTrainedModel, heads: Sequence[int] | None
) -> dict[Axis, _Heads]:
    """The axes of our weights along which attention heads lie."""
    ours, theirs = _rows(model), _rows(source)
    n_ours, n_theirs = ours[0].n_heads, theirs[0].n_heads
    if ours[0].is_image:
        if heads is not None:
            raise RecipeError("start.heads names attention heads, but a ResNet has none.")
        return {}
    if n_ours > n_theirs:
        raise RecipeError(f"start takes {n_ours} heads of a model with {n_theirs}.")
    chosen = tuple(evenly(n_ours, n_theirs).tolist() if heads is None else heads)
    if len(chosen) != n_ours or max(chosen) >= n_theirs:
        raise RecipeError(
            f"start.heads is {list(chosen)}, but the model has {n_ours} heads and the source "
            f"{n_theirs}. Name one existing head for each of ours."
        )
    layout = _Heads(n_ours, n_theirs, chosen)
    names = {id(weight): name for name, weight in model.named_parameters()}
    axes = {(names[id(weight)], axis): layout for weight, axis in _head_weights(ours)}
    biases = [name for name in names.values() if _BIAS_OF_LAYER_0 in name]
    return axes | {(name, 1): layout for name in biases}


def _head_weights(rows: Sequence[LayerModules]) -> list[tuple[Tensor, int]]:
    found: list[tuple[Tensor, int]] = []
    for row in rows:
        found.append((cast(Tensor, row.o.weight), 1))
        for module in (row.q, row.k, row.v):
            assert module is not None, "rows that are no images have attention"
            found += [(weight, 0) for weight in module.parameters(recurse=False)]
    return found


def _fixed_axes(model: PreTrainedModel) -> frozenset[Axis]:
    """Axes of which nothing is chosen: words, positions, and the places of a kernel."""
    tables = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
    kernels = {name for name, weight in model.named_parameters() if weight.dim() == 4}
    positions = {name for name, _ in model.named_parameters() if name.endswith(_POSITIONS)}
    return frozenset(
        {(name, 0) for name in tables}
        | {(name, axis) for name in kernels for axis in (2, 3)}
        | {(name, 1) for name in positions}
    )


def _selected(
    name: str,
    shape: tuple[int, ...],
    theirs: Tensor,
    axes: Mapping[Axis, _Heads],
    fixed: frozenset[Axis],
) -> Tensor | None:
    """The part of a weight that has our shape; None if there is none."""
    if len(shape) != theirs.dim():
        return None
    for axis, (n, total) in enumerate(zip(shape, theirs.shape, strict=True)):
        heads = axes.get((name, axis))
        if heads is None and n == total:
            continue
        if n > total or (name, axis) in fixed:
            return None
        index = evenly(n, total) if heads is None else heads.index(n, total)
        theirs = theirs.index_select(axis, index.to(theirs.device))
    return theirs


def _rows(model: PreTrainedModel) -> tuple[LayerModules, ...]:
    return bind(_architecture(model), model).layers


def _architecture(model: PreTrainedModel) -> Architecture:
    return find_architecture(model.config.model_type, [type(model).__name__])
