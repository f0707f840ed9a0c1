"""What may bring a teacher's debiasing back: its layers, or better data.

The third remedy, distilling through an assistant of middle size, needs no code: it is a recipe
whose teacher is itself a distilled recipe.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

from torch import nn
from transformers import PreTrainedModel, ResNetForImageClassification

from behavior.errors import RecipeError
from behavior.examples import Cell, Example, Quad, Task

TWIN: dict[str, Cell] = {"A": "C", "C": "A", "N": "L", "L": "N"}
"""The cell with the other core and the same shortcut."""


@runtime_checkable
class KnowsTrainingQuads(Protocol):
    """A task that knows the quad behind each training item."""

    def training_quad(self, i: int, seed: int = 0) -> Quad[Any]:
        """The quad that item i of the train split is one cell of."""
        ...


def counterfactual_twins(
    task: Task[Any], examples: Sequence[Example[Any]], share: float, seed: int
) -> list[Example[Any]]:
    """Twins of the first `share` of the training items: other core, same shortcut.

    The twin of an aligned item is a conflicting one. Items are independent draws, so the first
    are as good as any.

    Raises:
        RecipeError: If the task cannot say what a training item's counterfactual is.
    """
    if share == 0:
        return []
    if not isinstance(task, KnowsTrainingQuads):
        raise RecipeError(
            f"data.counterfactuals is {share}, but task {task.name!r} does not know the "
            "counterfactuals of its training items. Set it to 0."
        )
    chosen = islice(enumerate(examples), round(share * len(examples)))
    return [task.training_quad(i, seed).example(TWIN[example.group]) for i, example in chosen]


def copy_weights(
    model: PreTrainedModel, source: PreTrainedModel, layers: Sequence[int] | None = None
) -> None:
    """Start a model from another one of the same width, in place.

    Layer i of the model becomes layer `layers[i]` of the source; embeddings and head are copied.
    None copies a source of the same depth whole. The layers of a ResNet are its blocks, counted
    through all stages; a block that changes width or height needs one that changes them alike.

    Raises:
        RecipeError: If a layer is not there, or shapes differ.
    """
    ours, theirs = _layer_prefixes(model), _layer_prefixes(source)
    chosen = tuple(range(len(theirs))) if layers is None else tuple(layers)
    absent = [i for i in chosen if i >= len(theirs)]
    if absent or len(chosen) != len(ours):
        raise RecipeError(
            f"start takes layers {chosen} of a model with {len(theirs)} layers for a model with "
            f"{len(ours)}. Name one existing layer for each of ours in start.layers."
        )
    moved = {mine: theirs[layer] for mine, layer in zip(ours, chosen, strict=True)}
    weights = source.state_dict()
    copied = {name: weights.get(_renamed(name, moved)) for name in model.state_dict()}
    for name, value in model.state_dict().items():
        given = copied[name]
        if given is None or given.shape != value.shape:
            shape = None if given is None else tuple(given.shape)
            raise RecipeError(
                f"start copies {name} of shape {tuple(value.shape)}, but the source has {shape}. "
                "Use a source of the same family, width, inputs and classes."
            )
    model.load_state_dict(copied)


def _layer_prefixes(model: PreTrainedModel) -> tuple[str, ...]:
    if isinstance(model, ResNetForImageClassification):
        depths = cast(list[int], model.config.depths)
        return tuple(
            f"resnet.encoder.stages.{stage}.layers.{block}."
            for stage, depth in enumerate(depths)
            for block in range(depth)
        )
    depth = model.config.num_hidden_layers
    stacks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    return tuple(f"{stacks[0]}.{i}." for i in range(depth))


def _renamed(name: str, moved: Mapping[str, str]) -> str:
    for ours, theirs in moved.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name
