"""Bias models: how much of the label the shortcut alone gives away.

A bias model sees overlap features of premise and hypothesis and nothing else. It is fitted on
the training split, and its probabilities tell an objective which items the shortcut explains.

* `overlap-counts`: one binary feature, whether every word of the hypothesis is in the premise;
  the probabilities are the frequencies of the labels given the feature.
* `overlap-regression`: logistic regression on three overlap features, for any NLI text (after
  Clark et al. 2019, https://arxiv.org/abs/1909.03683, without word vectors).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import TextInput

BiasModel = Callable[[Sequence[TextInput]], Float[Tensor, "item n_classes"]]
"""From inputs to log-probabilities of the classes."""


def fit_bias_model(
    name: str, inputs: Sequence[TextInput], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Fit a bias model on the training split.

    Raises:
        DataError: If an input has no hypothesis.
    """
    return BIAS_MODELS[name](inputs, labels, n_classes)


def fit_overlap_counts(
    inputs: Sequence[TextInput], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Frequency of each class given full overlap and given less, with one count added to each.

    The added count keeps probabilities above zero where a class never occurs.
    """
    overlap = _full_overlap(inputs)
    counts = torch.ones(2, n_classes, dtype=torch.float64)
    counts.index_put_(
        (overlap, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True
    )
    table = (counts / counts.sum(-1, keepdim=True)).log().float()

    def predict(inputs: Sequence[TextInput]) -> Float[Tensor, "item n_classes"]:
        return table[_full_overlap(inputs)]

    return predict


def fit_overlap_regression(
    inputs: Sequence[TextInput], labels: Int[Tensor, " item"], n_classes: int
) -> BiasModel:
    """Logistic regression on `overlap_features`, standardised; every class must occur."""
    seen = len(labels.unique())
    if seen != n_classes:
        raise DataError(
            f"The training split holds {seen} of {n_classes} classes. A bias model needs examples "
            "of each."
        )
    features = overlap_features(inputs)
    mean, scale = features.mean(0), features.std(0) + 1e-6
    regression = LogisticRegression(max_iter=1000).fit((features - mean) / scale, labels.numpy())

    def predict(inputs: Sequence[TextInput]) -> Float[Tensor, "item n_classes"]:
        standard = (overlap_features(inputs) - mean) / scale
        return torch.from_numpy(regression.predict_log_proba(standard)).float()

    return predict


def overlap_features(inputs: Sequence[TextInput]) -> Float[np.ndarray, "item feature"]:
    """Share of hypothesis words in the premise, whether all are, and the log ratio of lengths."""
    return np.array([_features(*_words(x)) for x in inputs])


BIAS_MODELS: dict[str, Callable[[Sequence[TextInput], Int[Tensor, " item"], int], BiasModel]] = {
    "overlap-counts": fit_overlap_counts,
    "overlap-regression": fit_overlap_regression,
}
"""Adding a bias model is one function and one line here."""


def _features(premise: list[str], hypothesis: list[str]) -> tuple[float, float, float]:
    known = set(premise)
    share = sum(word in known for word in hypothesis) / len(hypothesis)
    return share, float(share == 1), math.log(len(premise) / len(hypothesis))


def _full_overlap(inputs: Sequence[TextInput]) -> Int[Tensor, " item"]:
    pairs = map(_words, inputs)
    return torch.tensor([int(set(hypothesis) <= set(premise)) for premise, hypothesis in pairs])


def _words(pair: TextInput) -> tuple[list[str], list[str]]:
    if pair.hypothesis is None:
        raise DataError(
            "An overlap bias model needs premise and hypothesis, but got a single text."
        )
    return pair.premise.casefold().split(), pair.hypothesis.casefold().split()
