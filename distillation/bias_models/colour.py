"""Bias models of images that see the colour of the ink."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from behavior.digits import PALETTE
from behavior.errors import DataError
from behavior.inputs import ImageInput, Input
from distillation.bias_models.fitting import InputModel, fit_counts, fit_regression

_LUMA = np.array([0.299, 0.587, 0.114])
_PALETTE_LUMA = 128
"""How bright every colour of the palette is."""


def fit_colour_counts(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> InputModel:
    """Frequency of each class given each colour of the palette, with one count added to each."""
    return fit_counts(palette_colour, len(PALETTE), inputs, labels, n_classes)


def fit_colour_regression(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> InputModel:
    """Logistic regression on `mean_colour`, standardised; every class must occur."""
    return fit_regression(mean_colour, inputs, labels, n_classes)


def mean_colour(inputs: Sequence[Input]) -> Float[np.ndarray, "item 3"]:
    """Mean red, green and blue of the lit pixels, weighted by how lit they are, at luma 128.

    How much of the image is lit does not show, so that it is the colour of the ink where an image
    is ink on black.

    Raises:
        DataError: If an image is all black.
    """
    sums = np.array([_pixels(x).sum((0, 1), dtype=np.float64) for x in inputs])
    luma = sums @ _LUMA
    if not luma.all():
        raise DataError("An image is all black, so it has no colour. Leave it out.")
    return sums * (_PALETTE_LUMA / luma[:, None])


def palette_colour(inputs: Sequence[Input]) -> Int[Tensor, " item"]:
    """Digit whose colour is the nearest to the mean colour of the image."""
    distances = mean_colour(inputs)[:, None] - np.array(PALETTE)
    return torch.from_numpy((distances**2).sum(-1).argmin(-1))


def _pixels(image: Input) -> UInt8[np.ndarray, "height width 3"]:
    if not isinstance(image, ImageInput):
        raise DataError("A colour bias model needs images, but got text.")
    return image.pixels()
