"""Compares each student with the teacher, into one folder.

1. Every student's names are resolved, its models loaded and its inputs aligned. One that cannot be
   used stops everything here, before anything takes time. A model that several students share,
   such as the teacher, is loaded once.
2. Each comparison runs as it would alone; what it has in common with an earlier one is taken from
   memory (`circuits.compare.several.sharing`).
3. Each is written into a folder of its own, and forgotten but for what ranks it. Its models go
   when its run is done, unless a later student needs them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from behavior.progress import Progress
from circuits.compare.comparison import Comparison
from circuits.compare.config import ComparisonConfig
from circuits.compare.options import short_name
from circuits.compare.pipeline import Prepared
from circuits.compare.roles import Opened
from circuits.compare.running.steps import Steps
from circuits.compare.several.overview import write_overview
from circuits.compare.several.ranking import Contestant, Overview, contestant, ranked
from circuits.compare.several.sharing import Memory, shared_steps

RESERVED = ("index.html", "overview.json", "overview.csv")


class Numbered:
    """Tells of the stages of one run, with its number among all."""

    def __init__(self, inner: Progress, lead: str) -> None:
        self._inner, self._lead = inner, lead

    def stage(self, name: str) -> None:
        """A stage of this run begins."""
        self._inner.stage(f"{self._lead}: {name}")

    def step(self, done: int, total: int) -> None:
        """So much of it is done."""
        self._inner.step(done, total)

    def ready(self) -> None:
        """All of this run can be used."""
        self._inner.ready()

    def close(self) -> None:
        """The other runs go on."""


def prepare_students(
    pipeline: ModuleType, configs: Sequence[ComparisonConfig], progress: Progress
) -> list[Prepared]:
    """Resolve, load and align for every student.

    Raises:
        CircuitsError: If a student, or anything else that was given, cannot be used.
    """
    opened: Opened = {}
    found: list[Prepared] = []
    for number, config in enumerate(configs, 1):
        said = Numbered(progress, f"check {number}/{len(configs)}")
        found.append(pipeline.prepare(config, said, opened=opened))
    progress.ready()
    return found


def compare_students(
    pipeline: ModuleType,
    configs: Sequence[ComparisonConfig],
    progress: Progress,
    *,
    command: str,
    steps: Steps,
    stage: Path,
    folder: Path,
    figures: bool,
) -> tuple[Overview, tuple[str, ...]]:
    """Run every comparison, write each and the overview.

    Args:
        pipeline: `circuits.compare.pipeline`, which takes seconds to import.
        configs: One for each student; they differ in nothing else.
        progress: Told about stages and steps.
        command: As it was given, for the results.
        steps: Where results of expensive steps are kept.
        stage: An existing folder to write into.
        folder: Its name for messages.
        figures: Whether heatmaps are drawn.

    Returns:
        The ranking, and remarks.

    Raises:
        CircuitsError: If anything given cannot be used.
    """
    prepared = prepare_students(pipeline, configs, progress)
    names = folder_names([config.student for config in configs])
    memory, remarks = Memory(), dict[str, None]()
    contestants: list[Contestant] = []
    for number, (config, name) in enumerate(zip(configs, names, strict=True), 1):
        said = Numbered(progress, f"{number}/{len(configs)} {name}")
        own = shared_steps(steps, name, memory)
        comparison: Comparison = pipeline.run_comparison(
            config, said, command=command, steps=own, prepared=prepared.pop(0)
        )
        said.stage("draw and store")
        (stage / name).mkdir()
        remarks |= dict.fromkeys(comparison.write(stage / name, folder / name, figures=figures))
        contestants.append(contestant(name, comparison))
    overview = ranked(contestants)
    write_overview(stage, overview)
    return overview, tuple(remarks)


def folder_names(students: Sequence[str]) -> tuple[str, ...]:
    """A folder for each student: the last part of its path or hub id.

    Where these repeat, as in `a/seed-1 b/seed-1`, the part before it is added, then a number.
    """
    short = [short_name(student) for student in students]
    counts = Counter(name.casefold() for name in short)
    taken = set[str](RESERVED)
    names: list[str] = []
    for student, last in zip(students, short, strict=True):
        before = Path(student).parent.name
        unique = counts[last.casefold()] == 1 or not before
        name = wanted = last if unique else f"{short_name(before)}-{last}"
        number = 2
        while name.casefold() in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)
