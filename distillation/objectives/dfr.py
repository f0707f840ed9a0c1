"""Deep feature reweighting: the last layer is fitted anew (https://arxiv.org/abs/2204.02937).

1. Features of held-out items with known groups, from a plainly trained model, standardised.
2. The strength of the L1 penalty: fitted on a balanced half of the items, chosen by the accuracy of
   the worst group on the other half.
3. Logistic regressions on balanced subsamples of all held-out items, each as large as the smallest
   group allows; their coefficients are averaged.
4. The standardisation is folded into the weights of the last layer. Nothing else is changed.

A T5 that answers with words has no intercept, so there features are scaled and not centred. Where
its output shares its weights with the embedding, the embeddings of the class names change as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression

from behavior.errors import DataError, RecipeError
from behavior.readout import read_labels
from distillation.checks import require
from distillation.features import last_layer, predict_features
from distillation.groups import number_groups
from distillation.objectives.objective import ClosedForm, Materials, Need

Features = Float[np.ndarray, "item d_model"]
Labels = Int[np.ndarray, " item"]
Chosen = Int[np.ndarray, " chosen"]


@dataclass(frozen=True)
class Head:
    """A linear classifier.

    Attributes:
        weight: [class, feature].
        bias: [class].
    """

    weight: Float[np.ndarray, "n_classes d_model"]
    bias: Float[np.ndarray, " n_classes"]

    def predict(self, features: Features) -> Labels:
        """[item] the likeliest class."""
        return (features @ self.weight.T + self.bias).argmax(-1)


@dataclass(frozen=True)
class DFR(ClosedForm):
    """The last layer by logistic regression on group-balanced held-out items.

    Attributes:
        held_out: Split of the items; `train` takes the training items themselves.
        n_held_out: Items drawn from the validation split.
        n_subsamples: Balanced subsamples over which coefficients are averaged.
        strengths: Inverse strengths C of the L1 penalty, of which one is chosen.
    """

    held_out: Literal["validation", "train"] = "validation"
    n_held_out: int = 20_000
    n_subsamples: int = 20
    strengths: tuple[float, ...] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
    needs: ClassVar[frozenset[Need]] = frozenset({"groups", "start"})

    def __post_init__(self) -> None:
        require(self.n_held_out >= 1, "n_held_out", "at least 1", self.n_held_out)
        require(self.n_subsamples >= 1, "n_subsamples", "at least 1", self.n_subsamples)
        fine = len(self.strengths) >= 1 and all(c > 0 for c in self.strengths)
        require(fine, "strengths", "numbers above 0", self.strengths)

    def fit(self, materials: Materials) -> None:
        """Replace the weights of the model's last layer.

        Raises:
            CircuitsError: If there are no held-out items with groups, or too few of a group.
        """
        features, labels, groups = self._held_out_features(materials)
        layer = last_layer(materials.classifier)
        head = self.fit_head(features, labels, groups, layer.has_bias, materials.seed)
        layer.replace(torch.from_numpy(head.weight), torch.from_numpy(head.bias))

    def fit_head(
        self, features: Features, labels: Labels, groups: Labels, intercept: bool, seed: int
    ) -> Head:
        """The averaged head, for features as they are.

        Raises:
            DataError: If there are too few items of a group or class, with where to get more.
        """
        try:
            return self._averaged(features, labels, groups, intercept, seed)
        except DataError as error:
            raise DataError(f"{error} {self._how_to_get_more}") from None

    @property
    def _how_to_get_more(self) -> str:
        if self.held_out == "train":
            return "Take more items (data.n), or set objective.held_out to validation."
        return "Raise objective.n_held_out."

    def _averaged(
        self, features: Features, labels: Labels, groups: Labels, intercept: bool, seed: int
    ) -> Head:
        mean = features.mean(0) if intercept else np.zeros(features.shape[1])
        scale = features.std(0) + 1e-6
        standard = (features - mean) / scale
        rng = np.random.default_rng(seed)
        strength = self._choose_strength(standard, labels, groups, intercept, rng)
        heads = [
            _fit(standard, labels, items, strength, intercept)
            for items in (self.subsample(groups, rng) for _ in range(self.n_subsamples))
        ]
        weight = np.mean([head.weight for head in heads], axis=0) / scale
        bias = np.mean([head.bias for head in heads], axis=0) - weight @ mean
        return Head(weight, bias)

    def _held_out_features(self, materials: Materials) -> tuple[Features, Labels, Labels]:
        signals, classifier = materials.signals, materials.classifier
        labels, groups, inputs = signals.labels, signals.groups, materials.inputs
        if self.held_out == "validation":
            if "validation" not in materials.task.splits:
                raise RecipeError(
                    f"Task {materials.task.name!r} has no validation split. Set "
                    "objective.held_out to train."
                )
            examples = list(materials.task.examples("validation", self.n_held_out, materials.seed))
            readout = read_labels(classifier.classes, classifier.classes)
            labels = readout.index([example.label for example in examples])
            groups = number_groups(examples)
            inputs = classifier.encode([example.input for example in examples])
        if groups is None:
            raise RecipeError("The held-out items have no groups. Choose another objective.")
        _, features = predict_features(classifier, inputs)
        return features.double().numpy(), labels.numpy(), groups.numpy()

    def _choose_strength(
        self,
        features: Features,
        labels: Labels,
        groups: Labels,
        intercept: bool,
        rng: np.random.Generator,
    ) -> float:
        order = rng.permutation(len(labels))
        fitted, judged = order[::2], order[1::2]
        items = fitted[self.subsample(groups[fitted], rng)]

        def quality(strength: float) -> float:
            head = _fit(features, labels, items, strength, intercept)
            return self.quality(head.predict(features[judged]) == labels[judged], groups[judged])

        return max(self.strengths, key=quality)

    def subsample(self, groups: Labels, rng: np.random.Generator) -> Chosen:
        """[chosen] positions of the items of one fit."""
        return balanced_subsample(groups, rng)

    def quality(self, right: Bool[np.ndarray, " item"], groups: Labels) -> float:
        """What the strength is chosen by: the accuracy of the worst group."""
        return min(right[groups == group].mean() for group in np.unique(groups))


def balanced_subsample(groups: Labels, rng: np.random.Generator) -> Chosen:
    """Positions of items, as many of each group as the smallest has.

    Raises:
        DataError: If a group has fewer than two items.
    """
    names, counts = np.unique(groups, return_counts=True)
    size = int(counts.min())
    if size < 2:
        raise DataError(f"A group of the held-out items has {size} item.")
    chosen = [rng.permutation(np.flatnonzero(groups == name))[:size] for name in names]
    return np.concatenate(chosen)


def _fit(
    features: Features, labels: Labels, items: Chosen, strength: float, intercept: bool
) -> Head:
    """The authors' solver for two classes, which knows no more; its last digits need no care."""
    n_classes = len(np.unique(labels))
    if len(np.unique(labels[items])) < n_classes:
        raise DataError(f"The {len(items)} items drawn lack a class of the held-out items.")
    two = n_classes == 2
    regression = LogisticRegression(
        C=strength,
        l1_ratio=1.0,
        solver="liblinear" if two else "saga",
        fit_intercept=intercept,
        max_iter=2000,
        tol=1e-4 if two else 1e-3,
        random_state=0,
    ).fit(features[items], labels[items])
    weight = regression.coef_
    bias = np.broadcast_to(np.asarray(regression.intercept_, dtype=float), len(weight))
    return Head(*_one_row_per_class(weight, bias))


def _one_row_per_class(
    weight: Float[np.ndarray, "row d_model"], bias: Float[np.ndarray, " row"]
) -> Sequence[np.ndarray]:
    """Two classes come as one row, the log-odds of the second: half of it each."""
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
