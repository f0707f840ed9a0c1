"""What tasks have in common whose items are made when they are asked for.

A stream of quads belongs to each split. In the in-domain splits an item is one cell of its quad:
the shortcut points to the label (A or L) in a share rho of the items and away from it (N or C) in
the rest, label and foil in equal numbers. The other splits hold the four cells of one quad after
the other, so that their first 4n items are the cells of `quads(n)`. Item i is a function of
(seed, split, i) alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from random import Random
from typing import ClassVar, Generic

from behavior.draws import generator
from behavior.errors import DataError
from behavior.examples import (
    CELLS,
    Cell,
    Contrast,
    Example,
    Pairs,
    Quad,
    SourceReport,
    pairs_from_quads,
)
from behavior.inputs import InputT_co

_IN_DOMAIN = ("train", "validation", "test")


@dataclass(frozen=True)
class GeneratedTask(ABC, Generic[InputT_co]):
    """A task of any size: nothing but its sources is held in memory.

    Attributes:
        CELL_SPLITS: Splits whose items are the cells of quads.
        QUAD_STREAMS: The stream that the quads of a split are made from.
        rho: Share of the in-domain items in which the shortcut points to the label, in [0, 1].
    """

    CELL_SPLITS: ClassVar[tuple[str, ...]] = ("ood",)
    QUAD_STREAMS: ClassVar[Mapping[str, str]] = {"test": "ood", "validation": "validation-quad"}

    rho: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.rho <= 1:
            raise DataError(
                f"rho is {self.rho}, but it is the share of items in which the shortcut points "
                "to the label. Give a number from 0 to 1, such as 0.99."
            )

    @property
    @abstractmethod
    def name(self) -> str:
        """As given to `load_task`."""

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""

    @abstractmethod
    def _quad(self, stream: str, i: int, seed: int) -> Quad[InputT_co]:
        """Quad i of a stream."""

    @property
    def splits(self) -> tuple[str, ...]:
        """In-domain: train, validation, test; cells in equal numbers: ood, and hard if any."""
        return (*_IN_DOMAIN, *self.CELL_SPLITS)

    @property
    def has_quads(self) -> bool:
        """True."""
        return True

    @property
    def n_quads(self) -> int | None:
        """None: there is no end of quads."""
        return None

    @property
    def reports(self) -> Mapping[str, SourceReport]:
        """Empty: nothing was dropped."""
        return {}

    def n_pairs(self, contrast: Contrast) -> int | None:
        """None: there is no end of pairs."""
        return None

    def examples(
        self, split: str, n: int | None = None, seed: int = 0
    ) -> Iterator[Example[InputT_co]]:
        """The first n items of a split, or without end; `group` is the cell.

        Raises:
            DataError: If there is no such split, or n is negative.
        """
        if split not in self.splits:
            raise DataError(f"Unknown split {split!r}. Expected one of: {', '.join(self.splits)}.")
        if n is not None and n < 0:
            raise DataError(f"n is {n}, but a number of examples is at least 0.")
        make = self._in_domain if split in _IN_DOMAIN else self._cell_by_cell
        return islice((make(split, i, seed) for i in count()), n)

    def training_quad(self, i: int, seed: int = 0) -> Quad[InputT_co]:
        """The quad that item i of the train split is one cell of.

        Its other cells are the item's counterfactual twins: other core, other shortcut, or both.
        """
        return self._quad("train", i, seed)

    def quads(self, n: int, seed: int = 0, split: str = "test") -> tuple[Quad[InputT_co], ...]:
        """The first n quads that are made from the content of a split other than train.

        Raises:
            DataError: If the split holds no quads, or n is not positive.
        """
        if split not in self.QUAD_STREAMS:
            *others, last = self.QUAD_STREAMS
            raise DataError(
                f"No quads are made for split {split!r}. Expected {', '.join(others)} or {last}."
            )
        if n < 1:
            raise DataError(f"n is {n}, but a number of quads is at least 1.")
        return tuple(self._quad(self.QUAD_STREAMS[split], i, seed) for i in range(n))

    def pairs(
        self, contrast: Contrast, n: int = 256, seed: int = 0, split: str = "test"
    ) -> Pairs[InputT_co]:
        """Pairs, n of them: both pairs of each of the first ceil(n / 2) quads, cut to n.

        Raises:
            DataError: If the split holds no quads, or n is not positive.
        """
        quads = self.quads((n + 1) // 2, seed, split)
        return pairs_from_quads(quads, contrast).take(range(n))

    def _in_domain(self, split: str, i: int, seed: int) -> Example[InputT_co]:
        cell = _draw_cell(generator(f"{split}-cell", i, seed), self.rho)
        return self._quad(split, i, seed).example(cell)

    def _cell_by_cell(self, split: str, i: int, seed: int) -> Example[InputT_co]:
        return self._quad(split, i // len(CELLS), seed).example(CELLS[i % len(CELLS)])


def _draw_cell(rng: Random, rho: float) -> Cell:
    aligned, shortcut_to_label = rng.random() < rho, rng.random() < 0.5
    if shortcut_to_label:
        return "A" if aligned else "C"
    return "L" if aligned else "N"
