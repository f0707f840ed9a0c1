"""Maps over an image: where a vision transformer's answer looks, and where a ResNet's groups write.

*Attention rollout* (Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928): the mean pattern of
a layer's heads, half of it the identity for the residual stream, multiplied from the last layer to
the first; the first token's row says from which patches it can have taken something. *Patch maps*
are the first token's attention to the patches, head by head. *Group maps* are the size of what each
group of hidden channels adds to the stream at each pixel. None of them says what is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import DataError
from behavior.inputs import Input
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from probes.words import n_patches, patch_grid


@dataclass(frozen=True, eq=False)
class NodeMaps:
    """A map of every head of a layer, or of every group of a block.

    Attributes:
        row: Name of the layer or block.
        nodes: Names of its heads or groups.
        maps: Share of attention, or size of what is added to the stream.
    """

    row: str
    nodes: tuple[str, ...]
    maps: Float[np.ndarray, "input node height width"]


def attention_rollout(
    model: PatchableModel, inputs: Sequence[Input]
) -> Float[np.ndarray, "input height width"]:
    """Share of the first token's rollout that falls on each patch; at most one in sum.

    Raises:
        DataError: If the model is no vision transformer.
    """
    patterns = _patterns(model, inputs)
    total: Tensor | None = None
    for pattern in patterns:
        step = pattern.double().mean(dim=1)
        step = (step + torch.eye(step.shape[-1], device=step.device)) / 2
        total = step if total is None else step @ total
    assert total is not None, "a transformer has layers"
    return _on_patches(model, total[:, 0])


def patch_maps(model: PatchableModel, inputs: Sequence[Input]) -> tuple[NodeMaps, ...]:
    """The first token's attention to each patch, head by head, layer by layer.

    Raises:
        DataError: If the model is no vision transformer.
    """
    found: list[NodeMaps] = []
    for row, pattern in zip(model.modules.layers, _patterns(model, inputs), strict=True):
        maps = _on_patches(model, pattern[:, :, 0])
        found.append(NodeMaps(row.name, tuple(str(head) for head in row.heads), maps))
    return tuple(found)


def group_maps(model: PatchableModel, inputs: Sequence[Input]) -> tuple[NodeMaps, ...]:
    """Euclidean norm of what each group of channels adds to the stream, pixel by pixel.

    Raises:
        DataError: If the model is no convolutional net.
    """
    rows = model.modules.layers
    if not rows[0].is_image:
        raise DataError(f"{model.name!r} has no groups of channels. Give a ResNet.")
    shapes: dict[str, tuple[int, int]] = {}
    handles = [row.o.register_forward_hook(_keep_shape(shapes, row)) for row in rows]
    try:
        _, cache = model.run_with_cache(inputs, sites=[row.site("result") for row in rows])
    finally:
        for handle in handles:
            handle.remove()
    found: list[NodeMaps] = []
    for row in rows:
        size = cache[row.site("result")].norm(dim=-1).transpose(1, 2)
        maps = size.unflatten(2, shapes[row.name]).cpu().numpy()
        found.append(NodeMaps(row.name, tuple(str(group) for group in row.heads), maps))
    return tuple(found)


def _patterns(model: PatchableModel, inputs: Sequence[Input]) -> list[Tensor]:
    if model.architecture.modality != "image" or model.modules.layers[0].is_image:
        raise DataError(f"{model.name!r} has no patches. Give a vision transformer.")
    sites = [row.site("pattern") for row in model.modules.layers]
    _, cache = model.run_with_cache(inputs, sites=sites)
    return [cache[site] for site in sites]


def _on_patches(
    model: PatchableModel, attention: Float[Tensor, "*batch pos"]
) -> Float[np.ndarray, "*batch height width"]:
    """The patches are the last positions; class and distillation tokens come before them."""
    patches = attention[..., attention.shape[-1] - n_patches(model) :]
    return patches.unflatten(-1, patch_grid(model)).cpu().numpy()


def _keep_shape(
    shapes: dict[str, tuple[int, int]], row: LayerModules
) -> Callable[[nn.Module, object, Tensor], None]:
    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        shapes[row.name] = (output.shape[2], output.shape[3])

    return keep
