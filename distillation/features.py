"""The last linear layer of a classifier and the features that enter it, in every family.

For BERT, ViT, ResNet and the T5 with a classification head this is the last linear layer with as
many outputs as there are classes. A T5 that answers with words has one output per token of its
vocabulary, of which only the rows of the classes' names count.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import RecipeError
from distillation.classifier import Classifier
from distillation.data import Batch, EncodedInputs


@dataclass(frozen=True, eq=False)
class LastLayer:
    """What turns features into logits of classes.

    Attributes:
        linear: The layer.
        rows: [class] its output for each class.
    """

    linear: nn.Linear
    rows: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.linear.in_features

    @property
    def has_bias(self) -> bool:
        """Whether the logits have an intercept."""
        return "bias" in dict(self.linear.named_parameters())

    @torch.no_grad()
    def replace(
        self, weight: Float[Tensor, "n_classes d_model"], bias: Float[Tensor, " n_classes"]
    ) -> None:
        """Give the classes other weights, in place; the bias is left out where there is none."""
        rows = list(self.rows)
        self.linear.weight[rows] = weight.to(self.linear.weight)
        if self.has_bias:
            self.linear.bias[rows] = bias.to(self.linear.bias)


def last_layer(classifier: Classifier) -> LastLayer:
    """The last linear layer of a classifier.

    Raises:
        RecipeError: If it has none with as many outputs as classes.
    """
    if classifier.label_tokens is not None:
        head = cast(nn.Linear, classifier.model.get_output_embeddings())
        return LastLayer(head, classifier.label_tokens)
    n_classes = len(classifier.classes)
    heads = [
        module
        for module in classifier.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == n_classes
    ]
    if not heads:
        raise RecipeError(
            f"The model has no linear layer with {n_classes} outputs, but the objective works on "
            "the features of the last one. Choose another objective."
        )
    return LastLayer(heads[-1], tuple(range(n_classes)))


def logits_and_features(
    classifier: Classifier, batch: Batch, model: nn.Module | None = None
) -> tuple[Float[Tensor, "batch n_classes"], Float[Tensor, "batch d_model"]]:
    """Logits of one batch and the features they were made from; both have their gradient.

    Args:
        classifier: What is called.
        batch: What it is called with.
        model: The network as it is wrapped for training.
    """
    with _inputs_of(last_layer(classifier).linear) as seen:
        logits = classifier.logits(batch, model)
    features = seen[-1]
    return logits, features if features.ndim == 2 else features[:, 0]


@torch.no_grad()
def predict_features(
    classifier: Classifier, inputs: EncodedInputs, batch_size: int = 256
) -> tuple[Float[Tensor, "item n_classes"], Float[Tensor, "item d_model"]]:
    """Logits and features in evaluation mode, in the order of the inputs, on the CPU."""
    was_training = classifier.model.training
    classifier.model.eval()
    device = classifier.model.device
    found: list[tuple[Tensor, Tensor]] = []
    for items in torch.arange(len(inputs)).split(batch_size):
        batch = {name: column.to(device) for name, column in inputs.take(items).items()}
        found.append(logits_and_features(classifier, batch))
    classifier.model.train(was_training)
    logits, features = zip(*found, strict=True)
    return torch.cat(logits).cpu(), torch.cat(features).cpu()


@contextmanager
def _inputs_of(module: nn.Module) -> Generator[list[Tensor]]:
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()
