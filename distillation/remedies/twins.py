"""Twins of training items: the other core with the same shortcut, or the same core in other ink."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np

from behavior.draws import generator, pick
from behavior.errors import RecipeError
from behavior.examples import Cell, Example, Quad, Task
from behavior.inputs import ImageInput
from distillation.groups import OTHER_COLOURS

TWIN: dict[str, Cell] = {"A": "C", "C": "A", "N": "L", "L": "N"}
"""The cell with the other core and the same shortcut."""

RECOLOURED: dict[str, Cell] = {"A": "N", "N": "A", "C": "L", "L": "C"}
"""The cell with the same core and the other shortcut."""

_ORDERS = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Of red, green and blue; all but the one that leaves an image as it is."""


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


def recoloured_twins(
    task: Task[Any], examples: Sequence[Example[Any]], share: float, seed: int
) -> list[Example[Any]]:
    """Copies of the first `share` of the images in another colour, with the same label.

    Where the task knows its quads, the colour is that of the quad's other class, so the copy of an
    aligned item is a conflicting one. Elsewhere red, green and blue change places at random.

    Raises:
        RecipeError: If the items are no images.
    """
    chosen = islice(enumerate(examples), round(share * len(examples)))
    return [_recoloured(task, i, example, seed) for i, example in chosen]


def _recoloured(task: Task[Any], i: int, example: Example[Any], seed: int) -> Example[Any]:
    image = example.input
    if not isinstance(image, ImageInput):
        raise RecipeError(
            f"data.recolour is given, but task {task.name!r} has texts. Use data.counterfactuals."
        )
    if isinstance(task, KnowsTrainingQuads):
        return task.training_quad(i, seed).example(RECOLOURED[example.group])
    order = pick(_ORDERS, generator("recolour", i, seed))
    pixels = np.ascontiguousarray(image.pixels()[..., list(order)])
    return Example(
        f"{example.id}.recoloured", ImageInput(pixels), example.label, group=OTHER_COLOURS
    )
