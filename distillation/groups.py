"""Groups of items: the class together with what the shortcut says."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from behavior.examples import CELLS, Example

AUGMENTATION = "augmentation"
OTHER_COLOURS = "recoloured"
_UNKNOWN = frozenset({AUGMENTATION, OTHER_COLOURS})
"""Instead of a group, of items that a remedy adds and whose shortcut nobody knows."""


def number_groups(examples: Sequence[Example[Any]]) -> Int[Tensor, " item"] | None:
    """Number of each item's group: its class together with what its shortcut says.

    For a cell of a quad that is the class and whether the shortcut points to it, for other tasks
    the class and the source's own group. None if an item has no group: of items from files and of
    recoloured ones without quads nobody knows what their shortcut says.
    """
    if not all(example.group and example.group not in _UNKNOWN for example in examples):
        return None
    names = [(example.label, _shortcut(example)) for example in examples]
    numbers = {name: i for i, name in enumerate(sorted(set(names)))}
    return torch.tensor([numbers[name] for name in names])


def _shortcut(example: Example[Any]) -> str:
    if example.group not in CELLS:
        return example.group
    return "aligned" if example.aligned else "conflicting"
