"""Tasks that were read from a source and are held in memory.

A subset of n is drawn by a hash of seed and id: it does not depend on the order of the rows, and
a larger subset with the same seed holds the smaller one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Generic

from behavior.errors import DataError
from behavior.examples import Contrast, Example, Pairs, Quad, SourceReport
from behavior.inputs import InputT_co


@dataclass(frozen=True)
class SourceTask(Generic[InputT_co]):
    """Examples, and where there are any, quads and pairs.

    Attributes:
        name: As given to `load_task`.
        source: Where it came from, as JSON: path and digest, or the name of a data set.
        items: Examples of each split.
        reports: What was kept and what dropped, by what was read ("examples", "core pairs").
        all_quads: Every quad, in the order of the source.
        all_pairs: Every pair of a contrast, in the order of the source.
        limits: What the source cannot give, as a sentence for error messages.
    """

    name: str
    source: Mapping[str, object]
    items: Mapping[str, tuple[Example[InputT_co], ...]]
    reports: Mapping[str, SourceReport]
    all_quads: tuple[Quad[InputT_co], ...] = ()
    all_pairs: Mapping[Contrast, Pairs[InputT_co]] = field(
        default_factory=dict[Contrast, Pairs[InputT_co]]
    )
    limits: str = ""

    def __post_init__(self) -> None:
        if not any(self.items.values()):
            raise DataError(
                f"{self._where}: no example is left. "
                + "; ".join(f"{what}: {report}" for what, report in self.reports.items())
                + ". Give labelled rows."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that occur, in alphabetical order."""
        return self._labels

    @property
    def splits(self) -> tuple[str, ...]:
        """Names that `examples` accepts."""
        return tuple(self.items)

    @property
    def has_quads(self) -> bool:
        """Whether the source holds quads."""
        return bool(self.all_quads)

    @property
    def n_quads(self) -> int | None:
        """How many quads there are."""
        return len(self.all_quads)

    def n_pairs(self, contrast: Contrast) -> int:
        """How many pairs of one contrast there are."""
        return len(self.all_pairs[contrast]) if contrast in self.all_pairs else 0

    def examples(
        self, split: str, n: int | None = None, seed: int = 0
    ) -> Iterator[Example[InputT_co]]:
        """All examples of a split, or n drawn by the seed, in the order of the source.

        Raises:
            DataError: If there is no such split, or n is negative.
        """
        if split not in self.items:
            raise DataError(
                f"{self._where}: there is no split {split!r}. "
                f"Expected one of: {', '.join(self.items)}."
            )
        if n is not None and n < 0:
            raise DataError(f"n is {n}, but a number of examples is at least 0.")
        items = self.items[split]
        if n is None or n >= len(items):
            return iter(items)
        return (items[i] for i in choose([item.id for item in items], n, seed))

    def quads(self, n: int | None, seed: int = 0) -> tuple[Quad[InputT_co], ...]:
        """All quads (n None), or n drawn by the seed, in the order of the source.

        Raises:
            DataError: If there are no quads, or fewer than n.
        """
        self._check_number("quads", n, len(self.all_quads))
        chosen = choose([quad.id for quad in self.all_quads], n, seed)
        return tuple(self.all_quads[i] for i in chosen)

    def pairs(self, contrast: Contrast, n: int | None = 256, seed: int = 0) -> Pairs[InputT_co]:
        """All pairs of a contrast (n None), or n drawn by the seed; a quad's stay together.

        Raises:
            DataError: If there are no pairs of this contrast, or fewer than n.
        """
        self._check_number(f"pairs of the {contrast} contrast", n, self.n_pairs(contrast))
        pairs = self.all_pairs[contrast]
        return pairs.take(choose(pairs.units, n, seed))

    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""
        return {
            "name": self.name,
            **self.source,
            "labels": list(self.labels),
            "examples": {split: len(items) for split, items in self.items.items()},
            "quads": len(self.all_quads),
            "pairs": {contrast: len(pairs) for contrast, pairs in self.all_pairs.items()},
            "reports": {what: asdict(report) for what, report in self.reports.items()},
        }

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        names = {
            example.label.casefold(): example.label
            for examples in self.items.values()
            for example in examples
        }
        return tuple(names[key] for key in sorted(names))

    @property
    def _where(self) -> str:
        return str(self.source.get("path", self.name))

    def _check_number(self, what: str, n: int | None, available: int) -> None:
        if available == 0:
            raise DataError(f"{self._where}: holds no {what}. {self.limits}".rstrip())
        if n is not None and n < 1:
            raise DataError(f"n is {n}, but a number of {what} is at least 1.")
        if n is not None and n > available:
            raise DataError(
                f"{self._where}: {n} {what} were asked for, but it holds {available}. "
                f"Ask for at most {available}, or for all with n=None."
            )


def choose(ids: Sequence[str], n: int | None, seed: int) -> list[int]:
    """Positions of n ids drawn by the seed, ascending; equal ids are drawn one after the other."""
    if n is None or n >= len(ids):
        return list(range(len(ids)))
    return sorted(sorted(range(len(ids)), key=lambda i: (_hash(seed, ids[i]), i))[:n])


def _hash(seed: int, text: str) -> bytes:
    return blake2b(f"{seed} {text}".encode(), digest_size=8).digest()
