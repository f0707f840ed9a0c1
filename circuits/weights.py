"""Weights of single heads, and what a row's heads and MLP make of what they read."""

from collections.abc import Callable
from typing import Any, cast

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import PARTS
from patching.models.projections import input_axis, weight_of
from patching.models.rows import LayerModules


def head_weights(row: LayerModules, part: str) -> Float[Tensor, "head d_head d_model"]:
    """W_Q, W_K or W_V of each head."""
    module = _projection(row, part)
    weight = weight_of(module)
    matrix = weight if input_axis(module) == 1 else weight.T
    if row.is_fused:
        matrix = matrix.chunk(3, dim=0)[PARTS.index(part)]
    return rearrange(matrix, "(head d) model -> head d model", head=row.n_heads)


def head_biases(row: LayerModules, part: str) -> Float[Tensor, "head d_head"] | None:
    """b_Q, b_K or b_V of each head; None without."""
    bias = cast("Tensor | None", getattr(_projection(row, part), "bias", None))
    if bias is None:
        return None
    chosen = bias.chunk(3)[PARTS.index(part)] if row.is_fused else bias
    return rearrange(chosen, "(head d) -> head d", head=row.n_heads)


def project_heads(
    row: LayerModules, part: str, streams: Float[Tensor, "head batch pos d_model"]
) -> Float[Tensor, "batch head pos d_head"]:
    """q, k or v of each head from a stream of its own."""
    found = einsum(
        streams,
        head_weights(row, part),
        "head b pos model, head d model -> b head pos d",
    )
    bias = head_biases(row, part)
    return found if bias is None else found + bias[:, None]


def run_mlp(row: LayerModules, stream: Float[Tensor, "batch pos d_model"]) -> Tensor:
    """Output of a row's MLP."""
    assert row.mlp is not None, "the graph has no reader where there is no MLP"
    return row.mlp(stream if row.mlp_in is None else row.mlp_in(stream))


def hidden_channels(
    row: LayerModules, image: Float[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch hidden lower narrower"]:
    """What the last convolution of a block reads, when the block reads an image."""
    seen: list[Tensor] = []
    hook = row.o.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    try:
        row.attention(image)
    finally:
        hook.remove()
    return seen[0]


def pulled_back(function: Callable[[Tensor], Tensor], point: Tensor, gradient: Tensor) -> Tensor:
    """Gradient at a function's input from the gradient at its output."""
    with torch.enable_grad():
        leaf = point.detach().requires_grad_()
        (found,) = torch.autograd.grad(function(leaf), leaf, gradient)
    return found


def _projection(row: LayerModules, part: str) -> nn.Module:
    module: Any = getattr(row, part)
    assert module is not None, "rows without attention have no such readers"
    return module
