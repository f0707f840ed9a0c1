"""Empty models of each family, ready to be written: where its vectors, MLPs and classifier are."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from behavior.inputs import Input
from circuits.plants.language import Vocabulary
from circuits.plants.recipe import Recipe
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

CLASSES = ("foil", "label")
"""Names of the classes; the margin is the second logit minus the first."""


@runtime_checkable
class Scaffold(Protocol):
    """An empty model of one family.

    Attributes:
        model: All its weights are zero, norms do nothing but divide.
    """

    model: PatchableModel

    def embed(self, vocabulary: Vocabulary, ballast: Tensor) -> None:
        """Write what enters the stream."""
        ...

    def unit(self, ballast: float) -> float:
        """Length of a word's vector in the stream."""
        ...

    def last(self, streams: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch d_model"]:
        """What the classifier reads of the last stream."""
        ...

    def read_out(
        self, weight: Float[Tensor, "reading d_model"], bias: Tensor, answers: Tensor
    ) -> None:
        """Write the classifier.

        Args:
            weight: What it reads.
            bias: Of it.
            answers: [class, reading] from there to the logits.
        """
        ...

    def inputs(self, words: Int[Tensor, "input word"]) -> tuple[Input, ...]:
        """Inputs of these words."""
        ...


@runtime_checkable
class Transformer(Scaffold, Protocol):
    """An empty model with heads that attend, and MLPs."""

    def mlp(self, row: LayerModules) -> tuple[nn.Module, nn.Module]:
        """The two matrices of a row's MLP."""
        ...

    def hidden(self, row: LayerModules, stream: Tensor) -> Tensor:
        """What the second of them reads."""
        ...

    def scaling(self, row: LayerModules) -> float:
        """By what products of queries and keys are multiplied."""
        ...


def empty(hf: Any) -> Any:
    """The model with zero weights, and norms that do nothing but centre and divide."""
    with torch.no_grad():
        for module in hf.modules():
            for name, parameter in module.named_parameters(recurse=False):
                is_scale = "Norm" in type(module).__name__ and name == "weight"
                parameter.fill_(1.0 if is_scale else 0.0)
    return hf.double().requires_grad_(False).eval()


def named_classes() -> dict[str, Any]:
    """Entries of a config."""
    return {
        "id2label": dict(enumerate(CLASSES)),
        "label2id": {name: i for i, name in enumerate(CLASSES)},
    }


def by_width(row: LayerModules) -> float:
    """The usual scaling."""
    return row.d_head**-0.5


def layer_sizes(recipe: Recipe) -> dict[str, Any]:
    """Entries of a config that BERT and ViT share."""
    return {
        "hidden_size": recipe.d_model,
        "num_hidden_layers": recipe.n_layers,
        "num_attention_heads": recipe.n_heads,
        "intermediate_size": 2 * recipe.d_model,
    }


def first_token(streams: Tensor) -> Tensor:
    """Of each input."""
    return streams[:, 0]


def make_scaffold(family: str, recipe: Recipe, name: str) -> Scaffold:
    """An empty model.

    Raises:
        DataError: If no plants of this family can be made.
    """
    from circuits.plants.convnets import ResNetScaffold  # noqa: PLC0415  (they import this file)
    from circuits.plants.encdec import T5Scaffold  # noqa: PLC0415
    from circuits.plants.images import VitScaffold  # noqa: PLC0415
    from circuits.plants.texts import BertScaffold, Gpt2Scaffold  # noqa: PLC0415

    known: dict[str, Any] = {
        "bert": BertScaffold,
        "gpt2": Gpt2Scaffold,
        "vit": VitScaffold,
        "t5": T5Scaffold,
        "resnet": ResNetScaffold,
    }
    return known[family](recipe, name)
