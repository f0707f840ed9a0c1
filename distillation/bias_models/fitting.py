"""Bias models that are fitted: counts of a feature's values, and logistic regression."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from behavior.errors import DataError
from behavior.inputs import Input

InputModel = Callable[[Sequence[Input]], Float[Tensor, "item n_classes"]]
"""From inputs to log-probabilities of the classes."""


def fit_counts(
    feature: Callable[[Sequence[Input]], Int[Tensor, " item"]],
    n_values: int,
    inputs: Sequence[Input],
    labels: Int[Tensor, " item"],
    n_classes: int,
) -> InputModel:
    """Frequency of each class given each value of a feature, with one count added to each.

    The added count keeps probabilities above zero where a class never occurs.
    """
    values = feature(inputs)
    counts = torch.ones(n_values, n_classes, dtype=torch.float64)
    counts.index_put_(
        (values, labels), torch.ones(len(labels), dtype=torch.float64), accumulate=True
    )
    table = (counts / counts.sum(-1, keepdim=True)).log().float()

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        return table[feature(inputs)]

    return predict


def fit_regression(
    features_of: Callable[[Sequence[Input]], Float[np.ndarray, "item feature"]],
    inputs: Sequence[Input],
    labels: Int[Tensor, " item"],
    n_classes: int,
) -> InputModel:
    """Logistic regression on standardised features.

    Raises:
        DataError: If a class does not occur.
    """
    require_all_classes(labels, n_classes)
    features = features_of(inputs)
    mean, scale = features.mean(0), features.std(0) + 1e-6
    regression = LogisticRegression(max_iter=1000).fit((features - mean) / scale, labels.numpy())

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        standard = (features_of(inputs) - mean) / scale
        return torch.from_numpy(regression.predict_log_proba(standard)).float()

    return predict


def require_all_classes(labels: Int[Tensor, " item"], n_classes: int) -> None:
    """Refuse a training split without examples of each class.

    Raises:
        DataError: If a class does not occur.
    """
    seen = len(labels.unique())
    if seen != n_classes:
        raise DataError(
            f"The training split holds {seen} of {n_classes} classes. A bias model needs examples "
            "of each."
        )
