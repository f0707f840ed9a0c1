"""Bias models of natural language inference that see word overlap, or the hypothesis alone."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import Tensor

from behavior.errors import DataError
from behavior.inputs import Input, TextInput
from distillation.bias_models.fitting import (
    InputModel,
    fit_counts,
    fit_regression,
    require_all_classes,
)


def fit_overlap_counts(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> InputModel:
    """Frequency of each class given full overlap and given less, with one count added to each."""
    return fit_counts(_full_overlap, 2, inputs, labels, n_classes)


def fit_overlap_regression(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> InputModel:
    """Logistic regression on `overlap_features`, standardised; every class must occur."""
    return fit_regression(overlap_features, inputs, labels, n_classes)


def fit_hypothesis_only(
    inputs: Sequence[Input], labels: Int[Tensor, " item"], n_classes: int
) -> InputModel:
    """Logistic regression on which words the hypothesis has; every class must occur."""
    require_all_classes(labels, n_classes)
    regression = make_pipeline(
        CountVectorizer(binary=True, token_pattern=r"\S+"),
        LogisticRegression(max_iter=1000),
    ).fit(_hypotheses(inputs), labels.numpy())

    def predict(inputs: Sequence[Input]) -> Float[Tensor, "item n_classes"]:
        found = regression.predict_log_proba(_hypotheses(inputs))
        return torch.from_numpy(found).float()

    return predict


def overlap_features(inputs: Sequence[Input]) -> Float[np.ndarray, "item feature"]:
    """Share of hypothesis words in the premise, whether all are, and the log ratio of lengths."""
    return np.array([_features(*_words(x)) for x in inputs])


def _features(premise: list[str], hypothesis: list[str]) -> tuple[float, float, float]:
    known = set(premise)
    share = sum(word in known for word in hypothesis) / len(hypothesis)
    return share, float(share == 1), math.log(len(premise) / len(hypothesis))


def _full_overlap(inputs: Sequence[Input]) -> Int[Tensor, " item"]:
    pairs = map(_words, inputs)
    return torch.tensor([int(set(hypothesis) <= set(premise)) for premise, hypothesis in pairs])


def _hypotheses(inputs: Sequence[Input]) -> list[str]:
    return [" ".join(hypothesis) for _, hypothesis in map(_words, inputs)]


def _words(pair: Input) -> tuple[list[str], list[str]]:
    if not isinstance(pair, TextInput) or pair.hypothesis is None:
        kind = "a single text" if isinstance(pair, TextInput) else "an image"
        raise DataError(
            f"A hypothesis-only or overlap bias model needs premise and hypothesis, but got {kind}."
        )
    return pair.premise.casefold().split(), pair.hypothesis.casefold().split()
