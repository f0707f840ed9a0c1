"""Secants: how a change travels through a map that is not linear, exactly.

Between two inputs x0 and x1 of a map f, a secant is a linear map S with
S (x1 - x0) = f(x1) - f(x0). It is applied to parts of the change. What the parts become then adds
up to the change of the output, and a part that is zero stays exactly zero; constants (biases)
cancel.

With x_c the centred input, v its mean square, s = sqrt(v + eps), r = 1 / s, and means over the two
inputs, the secant of a LayerNorm is

    dx -> gamma * (mean_r * dx_c + (dr / dv) * (2 / d) * (mean_x_c . dx_c) * mean_x_c)

with dr / dv = -1 / (s0 s1 (s0 + s1)), which is the derivative where v0 = v1. An RMSNorm is the same
without centring. An elementwise map has the slope (f(x1) - f(x0)) / (x1 - x0), or its derivative
where x0 = x1.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import UnsupportedModelError

Secant = Callable[[Tensor], Tensor]
"""From parts of a change, along any leading axes, to what they become."""

Elementwise = Callable[[Tensor], Tensor]


def norm_secant(
    norm: nn.Module, first: Float[Tensor, "*batch d_model"], second: Float[Tensor, "*batch d_model"]
) -> Secant:
    """The secant of a LayerNorm, or of an RMSNorm such as T5's.

    Args:
        norm: The module.
        first: Its input in the first run.
        second: In the second.

    Raises:
        UnsupportedModelError: If the module is no norm that is known here.
    """
    centres, eps = _kind(norm)

    def centred(x: Tensor) -> Tensor:
        return x - x.mean(dim=-1, keepdim=True) if centres else x

    one, other = centred(first), centred(second)
    s0, s1 = (torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps) for x in (one, other))
    mean_x, mean_r = (one + other) / 2, (1 / s0 + 1 / s1) / 2
    bend = -2 / (s0 * s1 * (s0 + s1)) / first.shape[-1] * mean_x
    gamma = cast(Tensor, norm.weight)
    scale, bent = gamma * mean_r, gamma * bend

    def secant(change: Tensor) -> Tensor:
        moved = centred(change)
        along = torch.linalg.vecdot(moved, mean_x.expand_as(moved))[..., None]
        return torch.addcmul(scale * moved, along, bent)

    return secant


def elementwise_secant(function: Elementwise, first: Tensor, second: Tensor) -> Secant:
    """The secant of a function that acts on each number by itself."""
    slope = _slope(function, first, second)
    return lambda change: slope * change


def _slope(function: Elementwise, first: Tensor, second: Tensor) -> Tensor:
    change = second - first
    moves = change != 0
    ratio = (function(second) - function(first)) / torch.where(moves, change, 1)
    with torch.enable_grad():
        point = first.detach().requires_grad_()
        (derivative,) = torch.autograd.grad(function(point).sum(), point)
    return torch.where(moves, ratio, derivative)


def _kind(norm: nn.Module) -> tuple[bool, float]:
    """Whether a norm takes the mean away, and its epsilon."""
    if isinstance(norm, nn.LayerNorm):
        return True, norm.eps
    if "RMSNorm" in type(norm).__name__ or type(norm).__name__ == "T5LayerNorm":
        return False, cast(Any, norm).variance_epsilon
    raise UnsupportedModelError(
        f"Changes cannot be carried through a {type(norm).__name__}; expected LayerNorm or RMSNorm."
    )
