"""What the models are asked: quads, pairs and examples that all of them can read.

Quads give everything. Pairs give one contrast, or two that do not cross; labelled examples give
groups. What a source cannot give is said in the result and not guessed. Inputs are texts, or
images, of which every file is opened once so that a broken one is found before a long run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from behavior.errors import DataError
from behavior.examples import CONTRASTS, Contrast, Example, Pairs, Quad, Task, pairs_from_quads
from behavior.inputs import ImageInput, Input
from behavior.tasks import load_task, open_examples
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.roles import RoleEntry
from circuits.compare.wording import model_name
from patching import PatchableModel
from patching.alignment import align_pairs, align_quads

_HELD_OUT = ("test", "validation")
_FROM_FILES = frozenset({"hans", "mnli", "snli", "nli", "pairs", "quads", "datasets", "wilds"})
_KINDS = {"text": "texts", "image": "images"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Inputs of one comparison.

    Attributes:
        task: Where they come from.
        quads: Factorial quads; empty if the source has none.
        pairs: Pairs by contrast; both come from the quads where there are quads.
        examples: Labelled examples.
        split: Split that the examples come from; empty if there are none.
        in_domain: Whether the examples are drawn like the training data.
        reports: What was kept and dropped, one line a source or model.
    """

    task: Task[Any]
    quads: tuple[Quad[Input], ...]
    pairs: Mapping[Contrast, Pairs[Input]]
    examples: tuple[Example[Input], ...]
    split: str
    in_domain: bool
    reports: Mapping[str, str]

    def inputs(self) -> Iterator[Input]:
        """Every input, quads or pairs first."""
        for pairs in self.pairs.values():
            yield from pairs.clean
            yield from pairs.corrupted
        for example in self.examples:
            yield example.input


def open_task(config: ComparisonConfig, roles: Mapping[Role, RoleEntry]) -> Task[Any]:
    """The task that was asked for, else the one that the checkpoints were trained on.

    Raises:
        DataError: If no task is named anywhere, or its source cannot be read.
    """
    if config.examples is not None:
        path = Path(config.examples).expanduser()
        return open_examples(path) if config.task is None else load_task(config.task, path=path)
    if config.task in _FROM_FILES:
        raise DataError(f"Task {config.task!r} is read from a file. Say which with --examples.")
    if config.task is not None:
        return load_task(config.task)
    named = [roles[role].checkpoint.task for role in PAIR]
    tasks = sorted({task for task in named if task is not None})
    if len(tasks) != 1:
        raise DataError(
            f"The checkpoints name {' and '.join(map(repr, tasks)) or 'no task'}, so it is not "
            "clear what to ask them. Give --task (such as nli-overlap) or --examples FILE."
        )
    return load_task(tasks[0])


def gather_evidence(task: Task[Any], config: ComparisonConfig) -> Evidence:
    """Quads or pairs, and examples, in the numbers that were asked for or that there are.

    Raises:
        DataError: If the source holds nothing that can be asked.
    """
    quads = _some_quads(task, config)
    split = next((name for name in _HELD_OUT if name in task.splits), "")
    in_domain = bool(split) or task.name in ("mnli", "snli", "nli", "datasets")
    if not split and not task.has_quads:
        split = task.splits[0] if task.splits else ""
    examples = tuple(task.examples(split, config.n_examples, config.seed)) if split else ()
    return Evidence(
        task=task,
        quads=quads,
        pairs=_both_pairs(quads) if quads else _some_pairs(task, config),
        examples=examples,
        split=split,
        in_domain=in_domain,
        reports={name: f"{name}: {report}" for name, report in task.reports.items()},
    )


def align_evidence(evidence: Evidence, models: Mapping[str, PatchableModel]) -> Evidence:
    """Keep what is token-aligned, and short enough, for every model; say what was dropped.

    Args:
        evidence: As it was gathered.
        models: By role, and twins by their names.

    Raises:
        DataError: If quads or pairs were given and none is left, a model does not read inputs of
            this kind, or an image cannot be opened.
    """
    _check_kind(evidence, models)
    quads, pairs, examples = evidence.quads, dict(evidence.pairs), evidence.examples
    reports = dict(evidence.reports)
    for name, model in _distinct(models).items():
        said = model_name(name)
        examples, reports[f"{name} examples"] = _fitting(model, examples)
        if quads:
            quads, report = align_quads(model, quads)
            reports[f"{name} quads"] = f"{said}: quads {report}"
            continue
        for contrast, given in list(pairs.items()):
            pairs[contrast], report = align_pairs(model, given)
            reports[f"{name} {contrast} pairs"] = f"{said}: {contrast} pairs {report}"
    return replace(
        evidence,
        quads=quads,
        pairs=_both_pairs(quads) if quads else pairs,
        examples=examples,
        reports={name: line for name, line in reports.items() if line},
    )


def _some_quads(task: Task[Any], config: ComparisonConfig) -> tuple[Quad[Input], ...]:
    if not task.has_quads:
        return ()
    available = task.n_quads
    wanted = config.n_quads if available is None else min(config.n_quads, available)
    return task.quads(wanted, config.seed)


def _some_pairs(task: Task[Any], config: ComparisonConfig) -> dict[Contrast, Pairs[Input]]:
    found: dict[Contrast, Pairs[Input]] = {}
    for contrast in CONTRASTS:
        available = task.n_pairs(contrast)
        if available is None or available > 0:
            wanted = config.n_pairs if available is None else min(config.n_pairs, available)
            found[contrast] = task.pairs(contrast, wanted, config.seed)
    return found


def _both_pairs(quads: Sequence[Quad[Input]]) -> dict[Contrast, Pairs[Input]]:
    return {contrast: pairs_from_quads(quads, contrast) for contrast in CONTRASTS}


def _distinct(models: Mapping[str, PatchableModel]) -> dict[str, PatchableModel]:
    """Each model once, under its first name."""
    first: dict[int, str] = {}
    for name, model in models.items():
        first.setdefault(id(model), name)
    return {name: models[name] for name in first.values()}


def _check_kind(evidence: Evidence, models: Mapping[str, PatchableModel]) -> None:
    first = next(evidence.inputs(), None)
    if first is None:
        return
    given = "image" if isinstance(first, ImageInput) else "text"
    for name, model in models.items():
        if model.spec.modality != given:
            raise DataError(
                f"The {model_name(name)} {model.name!r} reads {_KINDS[model.spec.modality]}, but "
                f"the inputs are {_KINDS[given]}. Give other models, or others with --examples."
            )
    images = (each for each in evidence.inputs() if isinstance(each, ImageInput))
    for image in dict.fromkeys(images):
        image.pixels()


def _fitting(
    model: PatchableModel, examples: tuple[Example[Input], ...]
) -> tuple[tuple[Example[Input], ...], str]:
    """The examples that a model takes; images always fit, the processor scales them."""
    if not examples or model.spec.modality == "image":
        return examples, ""
    rows = model.encoder.encode([example.input for example in examples])
    kept = tuple(
        example
        for example, row in zip(examples, rows, strict=True)
        if len(row) <= model.spec.max_length
    )
    if not kept:
        raise DataError(
            f"All {len(examples)} examples are longer than the {model.spec.max_length} tokens "
            f"that {model.name} takes. Give shorter ones."
        )
    lost = len(examples) - len(kept)
    return kept, f"{lost:,} examples are too long for {model.name}" if lost else ""
