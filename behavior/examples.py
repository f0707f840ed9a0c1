"""The evidence: inputs, labelled examples, factorial quads and pairs.

A quad is four aligned inputs, core feature x shortcut (DESIGN, section 3):

                       shortcut -> label    shortcut -> foil
    core -> label      A (aligned)          N (conflicting)
    core -> foil       C (conflicting)      L (aligned)

Two contrasts come from each quad. The *core contrast* changes the core and keeps the shortcut
(A -> C and N -> L); the *shortcut contrast* changes the shortcut and keeps the core (A -> N and
C -> L). In a pair the clean input is the label-wards one. The unit of resampling is the quad,
never the pair: both pairs of a quad carry its id in `Pairs.units`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, runtime_checkable

from behavior.errors import DataError
from behavior.inputs import ImageInput as ImageInput
from behavior.inputs import Input, InputT_co
from behavior.inputs import TextInput as TextInput

Cell = Literal["A", "N", "C", "L"]
Contrast = Literal["core", "shortcut"]

CELLS: tuple[Cell, ...] = ("A", "N", "C", "L")
CONTRASTS: tuple[Contrast, ...] = ("core", "shortcut")

ALIGNED_CELLS: frozenset[Cell] = frozenset({"A", "L"})
LABEL_CELLS: frozenset[Cell] = frozenset({"A", "N"})
"""Cells whose true answer is the quad's label; in C and L it is the foil."""

_STEPS: dict[Contrast, tuple[tuple[Cell, Cell], tuple[Cell, Cell]]] = {
    "core": (("A", "C"), ("N", "L")),
    "shortcut": (("A", "N"), ("C", "L")),
}


@dataclass(frozen=True, slots=True)
class Example(Generic[InputT_co]):
    """One labelled input.

    Attributes:
        id: Names the example within its source.
        input: What the model reads.
        label: Name of the true class.
        aligned: Whether the shortcut points to the label; None where that is not known.
        group: Cell, or the source's own grouping (a HANS heuristic with its label).
        template: Cluster the example was made from, for resampling; empty if none.
    """

    id: str
    input: InputT_co
    label: str
    aligned: bool | None = None
    group: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class Quad(Generic[InputT_co]):
    """Four aligned inputs, core x shortcut, with one label and one foil for all four.

    Attributes:
        id: Names the quad within its task.
        A: Core and shortcut both point to the label.
        N: Core points to the label, shortcut to the foil.
        C: Core points to the foil, shortcut to the label.
        L: Core and shortcut both point to the foil.
        label: Class of the core feature in A and N.
        foil: Class of the core feature in C and L.
        template: Cluster the quad was made from, for resampling; empty if none.
    """

    id: str
    A: InputT_co
    N: InputT_co
    C: InputT_co
    L: InputT_co
    label: str
    foil: str
    template: str = ""

    def __post_init__(self) -> None:
        if self.label.casefold() == self.foil.casefold():
            raise DataError(
                f"Quad {self.id!r} has {self.label!r} as label and as foil. The foil is the "
                "class that the counterfactual (C, L) points to; give two different classes."
            )
        _check_one_kind(f"Quad {self.id!r}", (self.A, self.N, self.C, self.L))

    def cell(self, cell: Cell) -> InputT_co:
        """The input in one cell."""
        inputs: dict[Cell, InputT_co] = {"A": self.A, "N": self.N, "C": self.C, "L": self.L}
        return inputs[cell]

    def truth(self, cell: Cell) -> str:
        """Name of the true class in one cell."""
        return self.label if cell in LABEL_CELLS else self.foil

    def examples(self) -> tuple[Example[InputT_co], ...]:
        """The four inputs as labelled examples, in the order A, N, C, L."""
        return tuple(self.example(cell) for cell in CELLS)

    def example(self, cell: Cell) -> Example[InputT_co]:
        """The input in one cell as a labelled example."""
        return Example(
            id=f"{self.id}.{cell}",
            input=self.cell(cell),
            label=self.truth(cell),
            aligned=cell in ALIGNED_CELLS,
            group=cell,
            template=self.template,
        )


@dataclass(frozen=True, slots=True)
class Pairs(Generic[InputT_co]):
    """Clean and corrupted inputs of one contrast, in order.

    Attributes:
        contrast: What differs between clean and corrupted.
        clean: [pair] the label-wards inputs.
        corrupted: [pair] the foil-wards inputs.
        labels: [pair] class that the clean input points to.
        foils: [pair] class that the corrupted input points to.
        units: [pair] unit of resampling: the quad's id, or the pair's own.
        templates: [pair] cluster of the unit; empty strings if none.
        steps: [pair] the cells, such as `A->C`; empty strings if the pairs come without quads.
    """

    contrast: Contrast
    clean: tuple[InputT_co, ...]
    corrupted: tuple[InputT_co, ...]
    labels: tuple[str, ...]
    foils: tuple[str, ...]
    units: tuple[str, ...]
    templates: tuple[str, ...]
    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {
            name: len(getattr(self, name))
            for name in ("clean", "corrupted", "labels", "foils", "units", "templates", "steps")
        }
        if len(set(lengths.values())) != 1:
            raise DataError(f"Pairs need one entry each of all fields, but got {lengths}.")
        _check_one_kind("A set of pairs", (*self.clean, *self.corrupted))

    def __len__(self) -> int:
        return len(self.clean)

    def take(self, indices: Iterable[int]) -> "Pairs[InputT_co]":
        """The pairs at these positions, in this order."""
        chosen = list(indices)
        return Pairs(
            self.contrast,
            tuple(self.clean[i] for i in chosen),
            tuple(self.corrupted[i] for i in chosen),
            tuple(self.labels[i] for i in chosen),
            tuple(self.foils[i] for i in chosen),
            tuple(self.units[i] for i in chosen),
            tuple(self.templates[i] for i in chosen),
            tuple(self.steps[i] for i in chosen),
        )

    def swapped(self) -> "Pairs[InputT_co]":
        """The same pairs with label and foil exchanged, and so clean and corrupted."""
        return Pairs(
            self.contrast,
            self.corrupted,
            self.clean,
            self.foils,
            self.labels,
            self.units,
            self.templates,
            self.steps,
        )


def pairs_from_quads(quads: Sequence[Quad[InputT_co]], contrast: Contrast) -> Pairs[InputT_co]:
    """Both pairs of each quad for one contrast: A->C, N->L or A->N, C->L, quad by quad."""
    rows: list[tuple[Quad[InputT_co], Cell, Cell]] = [
        (quad, clean, corrupted) for quad in quads for clean, corrupted in _STEPS[contrast]
    ]
    return Pairs(
        contrast=contrast,
        clean=tuple(quad.cell(clean) for quad, clean, _ in rows),
        corrupted=tuple(quad.cell(corrupted) for quad, _, corrupted in rows),
        labels=tuple(quad.label for quad, _, _ in rows),
        foils=tuple(quad.foil for quad, _, _ in rows),
        units=tuple(quad.id for quad, _, _ in rows),
        templates=tuple(quad.template for quad, _, _ in rows),
        steps=tuple(f"{clean}->{corrupted}" for _, clean, corrupted in rows),
    )


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What became of the rows of a source.

    Attributes:
        kept: Examples, quads or pairs that were made.
        dropped: Rows that are in none of them, by reason.
    """

    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])

    def __str__(self) -> str:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items())
        total = f"{self.kept:,} kept, {sum(self.dropped.values()):,} dropped"
        return f"{total} ({reasons})" if reasons else total


@runtime_checkable
class Task(Protocol[InputT_co]):
    """A source of examples, quads and pairs."""

    @property
    def name(self) -> str:
        """As given to `load_task`."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes of the task, in a fixed order."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """Names that `examples` accepts."""
        ...

    @property
    def has_quads(self) -> bool:
        """Whether `quads` can answer; if not, `pairs` has what there is."""
        ...

    @property
    def n_quads(self) -> int | None:
        """How many quads there are; None if without end."""
        ...

    @property
    def reports(self) -> Mapping[str, SourceReport]:
        """What was kept of the source and what dropped, by what was read; may be empty."""
        ...

    def n_pairs(self, contrast: Contrast) -> int | None:
        """How many pairs of one contrast there are; None if without end."""
        ...

    def examples(
        self, split: str, n: int | None = None, seed: int = 0
    ) -> Iterator[Example[InputT_co]]:
        """Labelled examples of one split, at most n of them."""
        ...

    def quads(self, n: int, seed: int = 0) -> tuple[Quad[InputT_co], ...]:
        """Quads, n of them, that no training split holds.

        Raises:
            DataError: If the source has no quads, or fewer than n.
        """
        ...

    def pairs(self, contrast: Contrast, n: int = 256, seed: int = 0) -> Pairs[InputT_co]:
        """Pairs of one contrast, n of them.

        Raises:
            DataError: If the source has no pairs of this contrast, or fewer than n.
        """
        ...

    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""
        ...


def _check_one_kind(name: str, inputs: Sequence[Input]) -> None:
    if len({type(each) for each in inputs}) > 1:
        raise DataError(f"{name} mixes texts and images. Give inputs of one kind.")
