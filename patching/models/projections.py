"""What a head's z adds to the stream: linear maps, whatever module holds their weights.

A head owns equal shares of the input channels of its output projection: columns of a `Linear`,
rows of a GPT-2 `Conv1D`, input channels of a convolution.
"""

from typing import cast

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from behavior.errors import SelfCheckError

Shape = tuple[int, ...]


def weight_of(projection: nn.Module) -> Tensor:
    """The weight as the module holds it."""
    return cast(Tensor, projection.weight)


def input_axis(projection: nn.Module) -> int:
    """Axis of the weight along which the heads lie.

    Raises:
        SelfCheckError: If the module is no linear map that is known here.
    """
    if isinstance(projection, (nn.Linear, nn.Conv2d)):
        return 1
    if isinstance(projection, Conv1D):
        return 0
    if weight_of(projection).dim() == 2:
        return 1
    raise SelfCheckError(
        f"An output projection is declared to be a {type(projection).__name__}; expected a Linear, "
        "a Conv1D or a Conv2d. Mend the paths in patching/models/families."
    )


def output_matrix(projection: nn.Module) -> Float[Tensor, "d_model d_z"]:
    """W_O of a projection without positions of its own (not of a convolution)."""
    weight = weight_of(projection)
    return weight if input_axis(projection) == 1 else weight.T


def without_inputs(projection: nn.Module, channels: slice) -> Tensor:
    """A copy of the weight with some input channels set to zero."""
    weight = weight_of(projection).detach().clone()
    weight.movedim(input_axis(projection), 0)[channels] = 0
    return weight


def project(
    projection: nn.Module, z: Float[Tensor, "batch pos d_z"], channels: slice
) -> Float[Tensor, "batch pos d_model"]:
    """What some input channels add to the output of a matrix, without the bias."""
    return z @ output_matrix(projection)[:, channels].T


def project_image(
    convolution: nn.Conv2d,
    norm: nn.Module,
    z: Float[Tensor, "batch pos d_z"],
    channels: slice,
    shape: Shape,
) -> Float[Tensor, "batch pos d_model"]:
    """What some input channels add to the branch of a convolution and its norm.

    Args:
        convolution: The last of the branch.
        norm: Its batch norm in evaluation mode, an affine map.
        z: Values of these channels, or their change.
        channels: Which.
        shape: [batch, channel, height, width] of the branch's output.
    """
    height, width = shape[2:]
    image = rearrange(z, "b (h w) c -> b c h w", h=height, w=width)
    out = torch.nn.functional.conv2d(
        image,
        convolution.weight[:, channels],
        stride=convolution.stride,  # pyright: ignore[reportArgumentType]
        padding=convolution.padding,  # pyright: ignore[reportArgumentType]
        dilation=convolution.dilation,  # pyright: ignore[reportArgumentType]
    )
    return rearrange(out, "b c h w -> b (h w) c") * norm_scale(norm)


def head_results(
    projection: nn.Module, z: Float[Tensor, "batch pos d_z"], n_heads: int
) -> Float[Tensor, "batch pos head d_model"]:
    """What each head adds to the stream: its z times its columns of W_O, without the bias."""
    columns = rearrange(output_matrix(projection), "model (head d) -> head d model", head=n_heads)
    heads = rearrange(z, "b pos (head d) -> b pos head d", head=n_heads)
    return einsum(heads, columns, "b pos head d, head d model -> b pos head model")


def norm_scale(norm: nn.Module) -> Float[Tensor, " d_model"]:
    """By what a batch norm in evaluation mode multiplies each channel."""
    norm = cast(nn.BatchNorm2d, norm)
    variance = cast(Tensor, norm.running_var)
    scale = torch.rsqrt(variance + norm.eps)
    return scale if not norm.affine else scale * norm.weight
