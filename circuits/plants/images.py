"""An empty ViT classifier whose patches show one word each."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from behavior.inputs import ImageInput, Input
from circuits.plants.language import Vocabulary
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import by_width, empty, first_token, layer_sizes, named_classes
from circuits.plants.weights import write
from patching.models.families.vit import VIT
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

_PATCH, _CHANNELS = 4, 3


class VitScaffold:
    """Pre-norm and bidirectional; a word is one bright subpixel of its patch, all others are black.

    The ballast is in the vectors of the places; the classifier reads the first token.
    """

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.side = round(recipe.n_words**0.5)
        size = _PATCH * self.side
        config = ViTConfig(
            image_size=size,
            patch_size=_PATCH,
            num_channels=_CHANNELS,
            **layer_sizes(recipe),
            **named_classes(),
        )
        self.hf: Any = empty(ViTForImageClassification(config))
        processor = ViTImageProcessorPil(size={"height": size, "width": size}, do_normalize=False)
        self.model = PatchableModel(self.hf, processor, VIT, name)

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Each subpixel of a patch stands for a word."""
        embeddings = self.hf.vit.embeddings
        projection = embeddings.patch_embeddings.projection.weight
        words = torch.zeros(projection[0].numel(), len(projection), dtype=projection.dtype)
        words[: len(vocabulary.words)] = vocabulary.words
        projection.copy_(words.T.view_as(projection))
        embeddings.cls_token.copy_(vocabulary.reading)
        embeddings.position_embeddings.copy_(vocabulary.places + ballast)

    def unit(self, ballast: float) -> float:
        """Nothing divides the stream itself."""
        return 1.0

    def mlp(self, row: LayerModules) -> tuple[nn.Module, nn.Module]:
        """Both matrices."""
        mlp: Any = row.mlp
        return mlp.fc1, mlp.fc2

    def hidden(self, row: LayerModules, stream: Tensor) -> Tensor:
        """After the activation."""
        mlp: Any = row.mlp
        return mlp.activation_fn(mlp.fc1(stream))

    def scaling(self, row: LayerModules) -> float:
        """As usual."""
        return by_width(row)

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """The first token, after the last norm."""
        return self.hf.vit.layernorm(first_token(streams))

    def read_out(self, weight: Tensor, bias: Tensor, answers: Tensor) -> None:
        """One matrix does both."""
        write(self.hf.classifier, answers @ weight, answers @ bias)

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Images of 3 x 3 patches."""
        return tuple(ImageInput(self._image(one)) for one in words)

    def _image(self, words: Int[Tensor, " word"]) -> np.ndarray:
        pixels = np.zeros((self.side, self.side, _CHANNELS, _PATCH, _PATCH), dtype=np.uint8)
        pixels.reshape(len(words), -1)[np.arange(len(words)), words.numpy()] = 255
        return pixels.transpose(0, 3, 1, 4, 2).reshape(
            self.side * _PATCH, self.side * _PATCH, _CHANNELS
        )
