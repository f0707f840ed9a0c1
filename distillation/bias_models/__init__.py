"""Bias models: how much of the label the shortcut alone gives away.

A bias model sees the overlap of premise and hypothesis, or the colour of an image, and nothing
else. It is fitted on the training split, and its probabilities tell an objective which items the
shortcut explains.

* `overlap-counts`: one binary feature, whether every word of the hypothesis is in the premise;
  the probabilities are the frequencies of the labels given the feature.
* `overlap-regression`: logistic regression on three overlap features, for any NLI text (after
  Clark et al. 2019, https://arxiv.org/abs/1909.03683, without word vectors).
* `hypothesis-only`: logistic regression on the words of the hypothesis (after Poliak et al. 2018,
  https://arxiv.org/abs/1805.01042, without a network).
* `colour-counts`: which digit's colour of the palette the ink has; the probabilities are the
  frequencies of the labels given the colour.
* `colour-regression`: logistic regression on the mean colour of an image, for any image.
* `model`: the probabilities of a network that was trained by another recipe, such as one too small,
  or trained too shortly, to learn more than the shortcut.
* `file`: probabilities from a table, by id of the example.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from behavior.examples import Example
from behavior.inputs import Input
from behavior.readout import read_labels
from distillation.bias_models.colour import (
    fit_colour_counts,
    fit_colour_regression,
    mean_colour,
    palette_colour,
)
from distillation.bias_models.fitting import InputModel
from distillation.bias_models.overlap import (
    fit_hypothesis_only,
    fit_overlap_counts,
    fit_overlap_regression,
    overlap_features,
)
from distillation.bias_models.table import look_up, read_probabilities
from distillation.models import load_classifier
from distillation.recipe import BiasModelRecipe

__all__ = [
    "BIAS_MODELS",
    "FITTED",
    "BiasModel",
    "fit_bias_model",
    "mean_colour",
    "overlap_features",
    "palette_colour",
]

BiasModel = Callable[[Sequence[Example[Any]]], Float[Tensor, "item n_classes"]]
"""From examples to log-probabilities of the classes."""

FITTED: dict[str, Callable[[Sequence[Input], Int[Tensor, " item"], int], InputModel]] = {
    "overlap-counts": fit_overlap_counts,
    "overlap-regression": fit_overlap_regression,
    "hypothesis-only": fit_hypothesis_only,
    "colour-counts": fit_colour_counts,
    "colour-regression": fit_colour_regression,
}
"""Adding a bias model is one function and one line here."""

BIAS_MODELS: tuple[str, ...] = (*FITTED, "model", "file")


def fit_bias_model(
    recipe: BiasModelRecipe,
    examples: Sequence[Example[Any]],
    labels: Int[Tensor, " item"],
    classes: Sequence[str],
    parents: Mapping[str, Path],
) -> BiasModel:
    """Fit a bias model on the training split, or load the network or table that serves as one.

    Args:
        recipe: Which bias model.
        examples: [item] of the training split.
        labels: [item] their classes.
        classes: Names of the classes in the order of the probabilities.
        parents: Folder of each trained network, by recipe.

    Raises:
        DataError: If an input has no hypothesis, or no colour, or a table does not fit.
    """
    if recipe.path is not None:
        path = Path(recipe.path)
        table = read_probabilities(path, classes)
        return lambda asked: look_up(table, asked, path)
    if recipe.recipe is not None:
        model = _network_as_bias_model(parents[recipe.recipe], classes)
    else:
        model = FITTED[recipe.name](_inputs(examples), labels, len(classes))
    return lambda asked: model(_inputs(asked))


def _network_as_bias_model(folder: Path, classes: Sequence[str]) -> InputModel:
    classifier = load_classifier(folder)
    readout = read_labels(classifier.classes, classes)

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        logits = readout.task_logits(classifier.predict(classifier.encode(inputs)))
        return logits.log_softmax(-1)

    return predict


def _inputs(examples: Sequence[Example[Any]]) -> list[Input]:
    return [example.input for example in examples]
