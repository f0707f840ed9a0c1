"""Bias models: how much of the label the shortcut alone gives away.

A bias model sees the overlap of premise and hypothesis, or the colour of an image, and nothing
else. It is fitted on the training split, and its probabilities tell an objective which items the
shortcut explains.

* `overlap-counts`: one binary feature, whether every word of the hypothesis is in the premise;
  the probabilities are the frequencies of the labels given the feature.
* `overlap-regression`: logistic regression on three overlap features, for any NLI text (after
  Clark et al. 2019, https://arxiv.org/abs/1909.03683, without word vectors).
* `colour-counts`: which digit's colour of the palette the ink has; the probabilities are the
  frequencies of the labels given the colour.
* `colour-regression`: logistic regression on the mean colour of an image, for any image.
* `model`: the probabilities of a network that was trained by another recipe, such as one too small,
  or trained too shortly, to learn more than the shortcut.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from behavior.digits import PALETTE
from behavior.errors import DataError
from behavior.inputs import ImageInput, Input, TextInput
from behavior.readout import read_labels
from distillation.models import load_classifier
from distillation.recipe import BiasModelRecipe

_LUMA = np.array([0.299, 0.587, 0.114])
_PALETTE_LUMA = 128
"""How bright every colour of the palette is."""

BiasModel = Callable[[Sequence[Input]], Float[Tensor, "item n_classes"]]
"""From inputs to log-probabilities of the classes."""


def fit_bias_model(
    recipe: BiasModelRecipe,
    inputs: Sequence[Input],
    labels: Int[Tensor, " item"],
    classes: Sequence[str],
    parents: Mapping[str, Path],
) -> BiasModel:
    """Fit a bias model on the training split, or load the network that serves as one.

    Args:
        recipe: Which bias model.
        inputs: [item] of the training split.
        labels: [item] their classes.
        classes: Names of the classes in the order of the probabilities.
        parents: Folder of each trained network, by recipe.

    Raises:
        DataError: If an input has no hypothesis, or no colour.
    """
    if recipe.recipe is not None:
        return _network_as_bias_model(parents[recipe.recipe], classes)
    return FITTED[recipe.name](inputs, labels, len(classes))


def fit_overlap_counts(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Frequency of each class given full overlap and given less, with one count added to each.

    The added count keeps probabilities above zero where a class never occurs.
    """
    return _fit_counts(_full_overlap, 2, inputs, labels, n_classes)


def fit_colour_counts(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Frequency of each class given each colour of the palette, with one count added to each."""
    return _fit_counts(palette_colour, len(PALETTE), inputs, labels, n_classes)


def fit_overlap_regression(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Logistic regression on `overlap_features`, standardised; every class must occur."""
    return _fit_regression(overlap_features, inputs, labels, n_classes)


def fit_colour_regression(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Logistic regression on `mean_colour`, standardised; every class must occur."""
    return _fit_regression(mean_colour, inputs, labels, n_classes)


def overlap_features(inputs: Sequence[Input]) -> Float[np.ndarray, "item feature"]:
    """Share of hypothesis words in the premise, whether all are, and the log ratio of lengths."""
    return np.array([_features(*_words(x)) for x in inputs])


def mean_colour(inputs: Sequence[Input]) -> Float[np.ndarray, "item 3"]:
    """Mean red, green and blue of the lit pixels, weighted by how lit they are, at luma 128.

    How much of the image is lit does not show, so that it is the colour of the ink where an image
    is ink on black.
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


FITTED: dict[str, Callable[[Sequence[Input], Int[Tensor, " item"], int], BiasModel]] = {
    "overlap-counts": fit_overlap_counts,
    "overlap-regression": fit_overlap_regression,
    "colour-counts": fit_colour_counts,
    "colour-regression": fit_colour_regression,
}
"""Adding a bias model is one function and one line here."""

BIAS_MODELS: tuple[str, ...] = (*FITTED, "model")


def _network_as_bias_model(folder: Path, classes: Sequence[str]) -> BiasModel:
    classifier = load_classifier(folder)
    readout = read_labels(classifier.classes, classes)

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        logits = readout.task_logits(classifier.predict(classifier.encode(inputs)))
        return logits.log_softmax(-1)

    return predict


def _fit_counts(
    feature: Callable[[Sequence[Input]], Int[Tensor, " item"]],
    n_values: int,
    inputs: Sequence[Input],
    labels: Int[Tensor, " item"],
    n_classes: int,
) -> BiasModel:
    values = feature(inputs)
    counts = torch.ones(n_values, n_classes, dtype=torch.float64)
    counts.index_put_(
        (values, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True
    )
    table = (counts / counts.sum(-1, keepdim=True)).log().float()

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        return table[feature(inputs)]

    return predict


def _fit_regression(
    features_of: Callable[[Sequence[Input]], Float[np.ndarray, "item feature"]],
    inputs: Sequence[Input],
    labels: Int[Tensor, " item"],
    n_classes: int,
) -> BiasModel:
    seen = len(labels.unique())
    if seen != n_classes:
        raise DataError(
            f"The training split holds {seen} of {n_classes} classes. A bias model needs examples "
            "of each."
        )
    features = features_of(inputs)
    mean, scale = features.mean(0), features.std(0) + 1e-6
    regression = LogisticRegression(max_iter=1000).fit((features - mean) / scale, labels.numpy())

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        standard = (features_of(inputs) - mean) / scale
        return torch.from_numpy(regression.predict_log_proba(standard)).float()

    return predict


def _features(premise: list[str], hypothesis: list[str]) -> tuple[float, float, float]:
    known = set(premise)
    share = sum(word in known for word in hypothesis) / len(hypothesis)
    return share, float(share == 1), math.log(len(premise) / len(hypothesis))


def _full_overlap(inputs: Sequence[Input]) -> Int[Tensor, " item"]:
    pairs = map(_words, inputs)
    return torch.tensor([int(set(hypothesis) <= set(premise)) for premise, hypothesis in pairs])


def _words(pair: Input) -> tuple[list[str], list[str]]:
    if not isinstance(pair, TextInput) or pair.hypothesis is None:
        kind = "a single text" if isinstance(pair, TextInput) else "an image"
        raise DataError(f"An overlap bias model needs premise and hypothesis, but got {kind}.")
    return pair.premise.casefold().split(), pair.hypothesis.casefold().split()


def _pixels(image: Input) -> UInt8[np.ndarray, "height width 3"]:
    if not isinstance(image, ImageInput):
        raise DataError("A colour bias model needs images, but got text.")
    return image.pixels()
