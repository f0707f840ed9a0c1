"""ResNets whose groups of channels write into channels of their own.

Batch norms (in evaluation) and ReLUs act on each channel by itself, so nothing leaks from one
writer to another, and there is no ballast. What a group writes is shifted upwards by the bias of
the last norm, so that the ReLU of the sum lets all of it through.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from behavior.inputs import ImageInput, Input
from circuits.plants.blocks import random_normal
from circuits.plants.calibration import Calibration
from circuits.plants.language import Vocabulary
from circuits.plants.recipe import CLASS_WORDS, Recipe
from circuits.plants.scaffolds import empty, named_classes
from circuits.plants.weights import write
from circuits.plants.wiring import INPUT, WORDS
from circuits.weights import hidden_channels
from patching.models.families.resnet import RESNET
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

_CELL, _LIT, _REACH = 4, 2, 3
"""Pixels of a word's cell, how many of them are lit (across and down), and the reach of kernels."""
_CENTRE = 3
"""Of the embedder's kernel of 7 x 7."""
_TAPS = _REACH**2
_ROOM = 2.0
"""By how much more than its largest value an output is shifted upwards."""


class ResNetScaffold:
    """One stage of basic blocks of equal width, which keeps all places.

    A word is a cell of 4 x 4 pixels, of which the first 2 x 2 are coloured: red for core words,
    green for shortcut words, blue for others. The embedder copies each of these 12 values into a
    channel. As lit pixels are no even distance apart, what it sees halfway between two cells is
    black, and its pooling picks one cell each.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.side = round(recipe.n_words**0.5)
        config = ResNetConfig(
            num_channels=len(WORDS),
            embedding_size=recipe.d_model,
            hidden_sizes=[recipe.d_model],
            depths=[recipe.n_layers],
            layer_type="basic",
            downsample_in_first_stage=False,
            **named_classes(),
        )
        self.hf: Any = empty(ResNetForImageClassification(config))
        for module in self.hf.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_((1 + module.eps) ** 0.5)
        size = {"height": _CELL * self.side, "width": _CELL * self.side}
        processor = ViTImageProcessorPil(size=size, do_normalize=False)
        self.model = PatchableModel(self.hf, processor, RESNET, name)
        self.colours = _colours()

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Each lit pixel and colour has a channel; words are what their colours make of them."""
        kernel = self.hf.resnet.embedder.embedder.convolution.weight
        kernel.zero_()
        for channel in range(len(WORDS) * _LIT**2):
            colour, down, right = np.unravel_index(channel, (len(WORDS), _LIT, _LIT))
            kernel[channel, int(colour), _CENTRE + int(down), _CENTRE + int(right)] = 1

    def unit(self, ballast: float) -> float:
        """Nothing divides the stream."""
        return 1.0

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The mean over all places."""
        return streams.mean(dim=1)

    def read_out(self, weight: Tensor, bias: Tensor, answers: Tensor) -> None:
        """One matrix does both."""
        write(self.hf.classifier[1], answers @ weight, answers @ bias)

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Images of 3 x 3 cells."""
        return tuple(ImageInput(self._image(one)) for one in words)

    def _image(self, words: Int[Tensor, " word"]) -> np.ndarray:
        cells = np.zeros((self.side, self.side, len(WORDS), _CELL, _CELL), dtype=np.uint8)
        lit = self.colours[words].view(self.side, self.side, len(WORDS), _LIT, _LIT)
        cells[..., :_LIT, :_LIT] = (255 * lit).round().byte().numpy()
        return rearrange(cells, "row column colour y x -> (row y) (column x) colour")


class ConvolutionRows:
    """Writes blocks of a ResNet, in order.

    Args:
        calibration: Of the plant.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self.recipe = calibration.recipe
        self.wiring = calibration.wiring
        self.blocks = calibration.blocks
        self.seed = calibration.seed

    def write(self, row: LayerModules) -> None:
        """Write one block."""
        (stream,) = self.calibration.record(row, "resid_pre")
        side = round(stream.shape[1] ** 0.5)
        image = rearrange(stream, "b (h w) c -> b c h w", h=side)
        branch: Any = row.attention
        self._read(row, branch[0], stream, image)
        self._write(row, branch[-1], hidden_channels(row, image))

    def _read(self, row: LayerModules, layer: Any, stream: Tensor, image: Tensor) -> None:
        for group, node in enumerate(map(str, row.heads)):
            channels = row.columns(group)
            if node in self.wiring.even:
                layer.convolution.weight[channels] = self._even_kernel(row.d_head)
                layer.normalization.bias[channels] = 0
                continue
            kernel = self._kernel(self.calibration.twin(node), row.d_head, stream)
            values = _convolved(image, kernel)
            mean = values.mean(dim=(0, 2, 3))
            centred = values - mean[:, None, None]
            strength = self.calibration.strength(centred, self.recipe.pre)
            layer.convolution.weight[channels] = strength * kernel
            layer.normalization.bias[channels] = -strength * mean

    def _kernel(
        self, reader: str, width: int, stream: Float[Tensor, "batch pos channel"]
    ) -> Float[Tensor, "width channel 3 3"]:
        """A random kernel on each block that a group sees, and nothing on all other channels."""
        kernel = torch.zeros(width, self.recipe.d_model, _REACH, _REACH, dtype=torch.float64)
        for name, scale in self.calibration.scales(reader, stream, _TAPS).items():
            basis = self.blocks[name]
            shape = (width, basis.shape[1], _REACH, _REACH)
            random = random_normal(self.seed, f"{reader}|{name}", shape)
            kernel += scale * einsum(basis, random, "channel d, out d y x -> out channel y x")
        return kernel

    def _even_kernel(self, width: int) -> Float[Tensor, "width channel 3 3"]:
        """Hidden channels in pairs w and -w on a class, half of them on the core's."""
        half = width // 2
        steepness = random_normal(self.seed, "even", (half,)).abs() + 1
        kernel = torch.zeros(width, self.recipe.d_model, _REACH, _REACH, dtype=torch.float64)
        for i, kind in enumerate(INPUT[:2]):
            one, other = self.blocks[kind][:, :2].T
            slopes = self.recipe.pre * steepness[i::2]
            kernel[i:half:2, :, _REACH // 2, _REACH // 2] = torch.outer(slopes, one - other)
        kernel[half : 2 * half] = -kernel[:half]
        return kernel

    def _write(self, row: LayerModules, layer: Any, hidden: Tensor) -> None:
        for group, node in enumerate(map(str, row.heads)):
            channels, twin = row.columns(group), self.calibration.twin(node)
            block = self.wiring.blocks[node]
            shape = (self.recipe.head_block, row.d_head, _REACH, _REACH)
            random = random_normal(self.seed, f"{twin}|writes", shape)
            if node in self.wiring.even:
                half = row.d_head // 2
                random[:, half : 2 * half] = random[:, :half]
            written = _convolved(hidden[:, channels], random)
            scale = self.calibration.scale(rearrange(written, "b d h w -> (b h w) d"))
            signed = scale if twin == node else -scale
            basis = self.blocks[block]
            kernel = einsum(basis, random, "channel d, d hidden y x -> channel hidden y x")
            layer.convolution.weight[:, channels] = signed * kernel
            largest = (scale * written).abs().amax(dim=(0, 2, 3))
            own = basis.sum(dim=1) > 0
            layer.normalization.bias[own] = _ROOM * largest
            if twin != node:
                size = self.recipe.size / self.recipe.head_block**0.5
                self.calibration.sizes[block] = size


def _convolved(image: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(image, kernel, padding=_REACH // 2)


def _colours() -> Float[Tensor, "word value"]:
    """What a word's lit pixels are: [red 0 to 3, green 0 to 3, blue 0 to 3], from 0 to 1.

    Of a core or shortcut word, the first two say its class and the other two tell the words of a
    class apart.
    """
    found = torch.zeros(len(WORDS), CLASS_WORDS, len(WORDS), _LIT**2, dtype=torch.float64)
    half = CLASS_WORDS // 2
    angles = torch.linspace(0, torch.pi / 2, half, dtype=torch.float64)
    for kind in range(2):
        for i in range(CLASS_WORDS):
            angle = angles[i % half]
            found[kind, i, kind, i // half] = 1
            found[kind, i, kind, 2:] = torch.stack([angle.cos(), angle.sin()])
    for i in range(CLASS_WORDS):
        lit = [i % 4] if i < half else [i % 4, (i + 1) % 4]
        found[2, i, 2, lit] = 1
    return rearrange(found, "kind i colour value -> (kind i) (colour value)")
