"""Where a site is found in a running model: a module, one end of it, and a change of shape."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from patching.models.nodes import Activation
from patching.models.rows import LayerModules

End = Literal["input", "output"]

_QKV = ("q", "k", "v")
_PLACES: dict[Activation, tuple[str, End]] = {
    "resid_pre": ("enter", "input"),
    "resid_post": ("leave", "output"),
    "q": ("q", "output"),
    "k": ("k", "output"),
    "v": ("v", "output"),
    "z": ("o", "input"),
    "attn_out": ("o", "output"),
    "mlp_out": ("mlp", "output"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a module, and how the model's tensor there becomes the site's value.

    Attributes:
        module: The module.
        end: Its first input, or its (first) output.
        read: From the model's tensor to the value, in the shape of `patching.models.nodes`.
        write: From the model's tensor and a value to the tensor to go on with.
    """

    module: nn.Module
    end: End
    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor, Tensor], Tensor]


def place_of(row: LayerModules, activation: Activation) -> Place:
    """The place of `resid_pre`, `resid_post`, `q`, `k`, `v`, `z`, `attn_out` or `mlp_out`."""
    field, end = _PLACES[activation]
    if activation == "attn_out" and row.is_image:
        return Place(row.attention, end, _pixels, _new_image)
    module: nn.Module = getattr(row, field)
    if activation in _QKV:
        return _heads_of_projection(row, module, activation)
    if activation == "z":
        return _heads_of_z(row, module)
    if row.is_image:
        return Place(module, end, _pixels, _image)
    return Place(module, end, _same, _other)


def _heads_of_projection(row: LayerModules, module: nn.Module, activation: Activation) -> Place:
    third = _QKV.index(activation) if row.is_fused else None
    read = partial(_read_projection, row.n_heads, third)
    return Place(module, "output", read, partial(_write_projection, third))


def _read_projection(n_heads: int, third: int | None, raw: Tensor) -> Tensor:
    flat = raw if third is None else raw.chunk(3, dim=-1)[third]
    return rearrange(flat, "b pos (head d) -> b pos head d", head=n_heads)


def _write_projection(third: int | None, raw: Tensor, value: Tensor) -> Tensor:
    flat = rearrange(value, "b pos head d -> b pos (head d)")
    if third is None:
        return flat
    parts = list(raw.chunk(3, dim=-1))
    parts[third] = flat
    return torch.cat(parts, dim=-1)


def _heads_of_z(row: LayerModules, module: nn.Module) -> Place:
    read = partial(_read_z, row.n_heads, row.is_image)
    return Place(module, "input", read, partial(_write_z, row.is_image))


def _read_z(n_heads: int, is_image: bool, raw: Tensor) -> Tensor:
    flat = _pixels(raw) if is_image else raw
    return rearrange(flat, "b pos (head d) -> b pos head d", head=n_heads)


def _write_z(is_image: bool, raw: Tensor, value: Tensor) -> Tensor:
    flat = rearrange(value, "b pos head d -> b pos (head d)")
    return _image(raw, flat) if is_image else flat


def _same(raw: Tensor) -> Tensor:
    return raw


def _other(_raw: Tensor, value: Tensor) -> Tensor:
    return value


def _pixels(raw: Tensor) -> Tensor:
    return rearrange(raw, "b c h w -> b (h w) c")


def _image(raw: Tensor, value: Tensor) -> Tensor:
    return rearrange(value, "b (h w) c -> b c h w", h=raw.shape[2], w=raw.shape[3])


def _new_image(raw: Tensor, value: Tensor) -> Tensor:
    """A tensor of its own: the block adds the shortcut to it in place."""
    return _image(raw, value).clone()
