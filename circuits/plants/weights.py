"""Writes weights into the modules of a row, whatever holds them: `Linear`, or GPT-2's `Conv1D`."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import PARTS
from patching.models.projections import input_axis, output_matrix, weight_of
from patching.models.rows import LayerModules


def matrix_of(module: nn.Module) -> Float[Tensor, "out in"]:
    """A view of a module's weight through which it can be changed."""
    weight = weight_of(module).data
    return weight if input_axis(module) == 1 else weight.T


def bias_of(module: nn.Module) -> Float[Tensor, " out"]:
    """The same of its bias."""
    return cast(Tensor, module.bias).data


def head_reader(
    row: LayerModules, part: str, head: int
) -> tuple[Float[Tensor, "d_head d_model"], Float[Tensor, " d_head"]]:
    """Views of W and b of q, k or v of one head."""
    module = getattr(row, part)
    start = head * row.d_head
    if row.is_fused:
        start += PARTS.index(part) * row.d_head * row.n_heads
    rows = slice(start, start + row.d_head)
    return matrix_of(module)[rows], bias_of(module)[rows]


def head_writer(row: LayerModules, head: int) -> Float[Tensor, "d_model d_head"]:
    """View of W_O of one head."""
    return output_matrix(row.o).data[:, row.columns(head)]


def write(module: nn.Module, weight: Tensor, bias: Tensor | None = None) -> None:
    """Set the weight [out, in] of a module, and its bias if it has one; zero unless given."""
    matrix_of(module).copy_(weight)
    if getattr(module, "bias", None) is not None:
        bias_of(module).copy_(torch.zeros(len(weight)) if bias is None else bias)
