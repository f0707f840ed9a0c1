"""Maps of the four cells of one quad of images, in both models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from behavior.examples import CELLS, Quad
from patching import PatchableModel
from probes.maps import NodeMaps, attention_rollout, group_maps, patch_maps


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """Where two models look, or write, on the cells A, N, C and L of one quad.

    Attributes:
        pixels: The images, from 0 to 1.
        rollout: By model; empty for ResNets.
        nodes: By model: each head's attention to the patches, or what each group writes.
    """

    pixels: Float[np.ndarray, "4 height width 3"]
    rollout: Mapping[str, Float[np.ndarray, "4 _ _"]]
    nodes: Mapping[str, tuple[NodeMaps, ...]]


def read_maps(models: Mapping[str, PatchableModel], quad: Quad[Any]) -> ImageMaps:
    """Maps of teacher and student on one quad."""
    images = [quad.cell(cell) for cell in CELLS]
    pixels = np.stack([image.pixels() for image in images]).astype(np.float64) / 255
    rollout: dict[str, np.ndarray] = {}
    nodes: dict[str, tuple[NodeMaps, ...]] = {}
    for role in ("teacher", "student"):
        model = models[role]
        if model.modules.layers[0].is_image:
            nodes[role] = group_maps(model, images)
        else:
            nodes[role] = patch_maps(model, images)
            rollout[role] = attention_rollout(model, images)
    return ImageMaps(pixels, rollout, nodes)
