"""Training items from several sources: so many of each, under one set of labels.

    load_task("mixture", parts=[
        {"task": "mnli", "path": "mnli_train.tsv", "two_way": True, "n": 8000},
        {"task": "hans", "path": "heuristics_train_set.txt", "n": 6000},
        {"task": "hans", "path": "heuristics_train_set.txt", "pairs": "core", "n": 2500},
    ])

Besides a task's own options a part may say which `split` is taken (the first one if it says
nothing), how many items `n` (all), and `pairs`: then both inputs of each pair of that contrast
become items, the clean one with the pair's label and the corrupted one with its foil. A mixture
has no quads; what is learned from it is asked elsewhere.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from behavior.errors import DataError
from behavior.examples import Contrast, Example, Pairs, Quad, SourceReport, Task

_OWN = ("task", "n", "split", "pairs")


@dataclass(frozen=True, slots=True)
class Part:
    """One source of a mixture.

    Attributes:
        task: The source.
        split: Of which the items are taken.
        n: How many; None takes all.
        pairs: Contrast whose pairs give the items, or None for labelled examples.
    """

    task: Task[Any]
    split: str
    n: int | None
    pairs: Contrast | None

    def examples(self, seed: int) -> Iterator[Example[Any]]:
        """The items that the seed draws.

        Raises:
            DataError: If pairs without end are asked for, or more than there are.
        """
        if self.pairs is None:
            yield from self.task.examples(self.split, self.n, seed)
            return
        available = self.task.n_pairs(self.pairs)
        n = available if self.n is None else self.n // 2
        if n is None:
            raise DataError(f"Task {self.task.name!r} has pairs without end. Say n in this part.")
        pairs = self.task.pairs(self.pairs, n, seed)
        rows = zip(
            pairs.units,
            pairs.clean,
            pairs.corrupted,
            pairs.labels,
            pairs.foils,
            pairs.templates,
            strict=True,
        )
        for unit, clean, corrupted, label, foil, template in rows:
            yield Example(f"{unit}.clean", clean, label, True, "clean", template)
            yield Example(f"{unit}.corrupted", corrupted, foil, False, "corrupted", template)


class MixtureTask:
    """Items of several sources, as a task with the one split `train`.

    Args:
        parts: A mapping for each source, as in the module's example.
        load: Opens a task by name and options.

    Raises:
        DataError: If a part cannot be used, or the parts mix texts and images.
    """

    name = "mixture"
    splits = ("train",)
    has_quads = False
    n_quads = 0

    def __init__(self, parts: Sequence[Mapping[str, object]], load: Callable[..., Task[Any]]):
        if not parts:
            raise DataError("A mixture needs parts: a list of sources, each with its task.")
        self.parts = tuple(_open(number, part, load) for number, part in enumerate(parts, start=1))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes of all parts, in alphabetical order."""
        names = {label.casefold(): label for part in self.parts for label in part.task.labels}
        return tuple(names[key] for key in sorted(names))

    @property
    def reports(self) -> Mapping[str, SourceReport]:
        """What was kept and dropped, by part and by what was read."""
        return {
            f"part {number}, {what}": report
            for number, part in enumerate(self.parts, start=1)
            for what, report in part.task.reports.items()
        }

    def examples(self, split: str, n: int | None = None, seed: int = 0) -> Iterator[Example[Any]]:
        """The items of all parts, one part after the other; `n` takes the first of them.

        Raises:
            DataError: If the split is not `train`, or a part has fewer pairs than it should give.
        """
        if split not in self.splits:
            raise DataError(f"A mixture has no split {split!r}. Expected 'train'.")
        for i, (number, example) in enumerate(self._numbered(seed)):
            if n is not None and i >= n:
                return
            yield replace(example, id=f"part-{number}.{example.id}")

    def n_pairs(self, contrast: Contrast) -> int:
        """Zero: a mixture is trained on, and asked nothing."""
        return 0

    def quads(self, n: int, seed: int = 0) -> tuple[Quad[Any], ...]:
        """A mixture has no quads.

        Raises:
            DataError: Always.
        """
        raise DataError("A mixture holds no quads. Take them from a task of their own.")

    def pairs(self, contrast: Contrast, n: int = 256, seed: int = 0) -> Pairs[Any]:
        """A mixture has no pairs.

        Raises:
            DataError: Always.
        """
        raise DataError("A mixture holds no pairs. Take them from a task of their own.")

    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""
        parts = [
            {"n": part.n, "split": part.split, "pairs": part.pairs, **part.task.describe()}
            for part in self.parts
        ]
        return {"name": self.name, "labels": list(self.labels), "parts": parts}

    def _numbered(self, seed: int) -> Iterator[tuple[int, Example[Any]]]:
        for number, part in enumerate(self.parts, start=1):
            for example in part.examples(seed):
                yield number, example


def _open(number: int, part: Mapping[str, object], load: Callable[..., Task[Any]]) -> Part:
    name = part.get("task")
    if not isinstance(name, str) or name == MixtureTask.name:
        raise DataError(f"Part {number} of the mixture names no source. Say task: NAME.")
    n, pairs = part.get("n"), part.get("pairs")
    if n is not None and (not isinstance(n, int) or n < 1):
        raise DataError(f"Part {number} of the mixture: n is {n!r}. Give a number of at least 1.")
    if pairs not in (None, "core", "shortcut"):
        raise DataError(f"Part {number} of the mixture: pairs is {pairs!r}. Say core or shortcut.")
    task = load(name, **{key: value for key, value in part.items() if key not in _OWN})
    split = part.get("split", task.splits[0])
    if split not in task.splits:
        raise DataError(
            f"Part {number} of the mixture: no split {split!r}. "
            f"Expected one of: {', '.join(task.splits)}."
        )
    return Part(task, cast(str, split), n, pairs)
