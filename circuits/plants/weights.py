"""Writes weights into the modules of a row, whatever holds them: `Linear`, or GPT-2's `Conv1D`."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import DataError
from circuits.graph import PARTS
from patching.models.projections import input_axis, output_matrix, weight_of
from patching.models.rows import LayerModules


def matrix_of(module: nn.Module) -> Float[Tensor, "out in"]:
    """A view of a module's weight through which it can be changed."""
    weight = weight_of(module).data
    return weight if input_axis(module) == 1 else weight.T


def has_bias(module: nn.Module) -> bool:
    """Whether a module adds a constant; those of T5's rows do not."""
    return getattr(module, "bias", None) is not None


def bias_of(module: nn.Module) -> Float[Tensor, " out"]:
    """The same of its bias.

    Raises:
        DataError: If it has none.
    """
    if not has_bias(module):
        raise DataError(
            f"A {type(module).__name__} of this model has no bias that could be changed, as in T5. "
            "Expected a plant of another family."
        )
    return cast(Tensor, module.bias).data


def head_rows(row: LayerModules, part: str, head: int) -> tuple[nn.Module, slice]:
    """The module that holds q, k or v of one head, and where in its outputs they are."""
    module = getattr(row, part)
    start = head * row.d_head
    if row.is_fused:
        start += PARTS.index(part) * row.d_head * row.n_heads
    return module, slice(start, start + row.d_head)


def head_reader(
    row: LayerModules, part: str, head: int
) -> tuple[Float[Tensor, "d_head d_model"], Float[Tensor, " d_head"]]:
    """Views of W and b of q, k or v of one head."""
    module, rows = head_rows(row, part, head)
    return matrix_of(module)[rows], bias_of(module)[rows]


def head_writer(row: LayerModules, head: int) -> Float[Tensor, "d_model d_head"]:
    """View of W_O of one head."""
    return output_matrix(row.o).data[:, row.columns(head)]


def write(module: nn.Module, weight: Tensor, bias: Tensor | None = None) -> None:
    """Set the weight [out, in] of a module, and its bias if it has one; zero unless given."""
    matrix_of(module).copy_(weight)
    if has_bias(module):
        bias_of(module).copy_(torch.zeros(len(weight)) if bias is None else bias)
