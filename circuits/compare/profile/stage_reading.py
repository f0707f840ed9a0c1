"""What can be read at each stage of every model: the core feature and the shortcut.

1. Quads are drawn for the probes alone: by another seed where the task makes them; from a file,
   those that the comparison does not use come first. Every model has to see them aligned.
2. Every model is run on them once, seed twins among them, and so are two untrained nets, one with
   the architecture of the teacher and one with that of the student: what these make readable owes
   nothing to training.
3. At each point of the stream weak linear probes are fitted and asked (`probes.linear`), all on
   the same quads and folds, so that differences between models are paired.

Where a feature is nearly linear in the input itself, as a digit is in its pixels, the untrained
nets read it as well, and a high reading of a trained one says little. An input that belongs to
several quads, such as an image of a digit that comes back, may stand on both sides of a fold; that
is so for all models alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from behavior.errors import CheckpointError, DataError
from behavior.examples import CELLS, Quad, Task
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.resampling import Resamples, resample_units
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.storage import Arrays, Json, null
from circuits.compare.untrained import untrained_like
from patching import PatchableModel
from patching.alignment import align_quads
from probes.folds import assign_folds
from probes.linear import (
    QUESTIONS,
    ProbeAnswers,
    Question,
    probe_quads,
    readability,
    readability_auc,
    too_few_quads,
)
from probes.stream import Point, pooled_stream, stream_points

LEFT_OUT = "probes were left out"
BLIND = "the decoder has not read the input here"
FEW = "fewer than two quads are left for the probes"
RANKED: tuple[Question, ...] = ("core_AC", "core_NL")
_SEED = 717_171
"""Added to the seed of the comparison: the quads of the probes are others."""


@dataclass(frozen=True, eq=False)
class StageReading:
    """What the probes found at one point of one model.

    Attributes:
        point: Where.
        answers: Held-out margins; None if nothing was measured.
        reason: Why not; None if it was.
    """

    point: Point
    answers: ProbeAnswers | None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class StageReadings:
    """Readings of every model, in the order of its stages.

    Attributes:
        models: By role, by the names of twins, and by `untrained_teacher` and `untrained_student`.
        quads: That the probes were fitted and asked on; empty if nothing was measured.
        resamples: Of these quads; None if nothing was measured.
    """

    models: Mapping[str, tuple[StageReading, ...]]
    quads: tuple[Quad[Input], ...] = ()
    resamples: Resamples | None = None

    @property
    def measured(self) -> bool:
        """Whether anything was read anywhere."""
        return any(each.answers is not None for found in self.models.values() for each in found)

    def arrays(self) -> Arrays:
        """Held-out margins, `<model>.probe.<stage>.<question>`: float32 [quad, cell]."""
        return {
            f"{model}.probe.{reading.point.name}.{question}": reading.answers.margins(question)
            for model, found in self.models.items()
            for reading in found
            if reading.answers is not None
            for question in QUESTIONS
        }

    def numbers(self, reading: StageReading) -> Json:
        """`core_AC`, `core_NL`, `transfer`, `shortcut`, and the AUC of the first two."""
        names = (*QUESTIONS, *(f"{question}_auc" for question in RANKED))
        if reading.answers is None or self.resamples is None:
            return {name: null(reading.reason or LEFT_OUT) for name in names}
        answers, drawn = reading.answers, self.resamples
        estimates = [readability(answers.margins(q), q, drawn) for q in QUESTIONS]
        estimates += [readability_auc(answers.margins(q), q, drawn) for q in RANKED]
        return {name: found.to_json() for name, found in zip(names, estimates, strict=True)}


def read_stages(
    models: Mapping[Role, PatchableModel],
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
    twins: Mapping[str, PatchableModel] | None = None,
) -> StageReadings:
    """Probe every model at every stage, and seed twins and untrained nets beside them."""
    trained: dict[str, PatchableModel] = {**models, **(twins or {})}
    if not config.n_probe_quads or not evidence.quads:
        return _nothing(trained, NO_QUADS if config.n_probe_quads else LEFT_OUT)
    progress.stage("read stages: quads")
    quads = _aligned(draw_probe_quads(evidence, config), trained)
    if len({quad.id for quad in quads}) < 2:
        return _nothing(trained, FEW)
    units, templates = [q.id for q in quads], [q.template for q in quads]
    folds = assign_folds(units, templates, seed=config.seed)
    known: dict[int, tuple[StageReading, ...]] = {}
    found: dict[str, tuple[StageReading, ...]] = {}
    for name, model in {**trained, **_untrained(models, config)}.items():
        if id(model) not in known:
            shown = name.replace("_", " ")
            known[id(model)] = steps.run(
                f"stages of {shown}",
                {"model": model, "data": (quads, folds), "batch size": config.batch_size},
                partial(_read, model, quads, folds, config.batch_size, progress, shown),
            )
        found[name] = known[id(model)]
    resamples = resample_units(units, templates, config.n_resamples, config.seed)
    return StageReadings(found, quads, resamples)


def draw_probe_quads(evidence: Evidence, config: ComparisonConfig) -> tuple[Quad[Input], ...]:
    """Quads for the probes, at most `n_probe_quads`; fresh ones as far as there are any."""
    task: Task[Any] = evidence.task
    if task.n_quads is None:
        return task.quads(config.n_probe_quads, config.seed + _SEED)
    used = {quad.id for quad in evidence.quads}
    every = task.quads(task.n_quads, config.seed + _SEED)
    order = np.random.default_rng(config.seed + _SEED).permutation(len(every))
    fresh_first = sorted(order.tolist(), key=lambda i: every[i].id in used)
    return tuple(every[i] for i in fresh_first[: config.n_probe_quads])


def _read(
    model: PatchableModel,
    quads: Sequence[Quad[Input]],
    folds: Int[np.ndarray, " quad"],
    batch_size: int | None,
    progress: Progress,
    name: str,
) -> tuple[StageReading, ...]:
    progress.stage(f"read stages: {name}")
    points = stream_points(model)
    total = 2 * len(points)
    inputs = [quad.cell(cell) for quad in quads for cell in CELLS]
    streams = pooled_stream(
        model,
        inputs,
        points,
        batch_size,
        lambda done, n: progress.step(done * len(points), n * total),
    )
    label, foil = _class_numbers(quads)
    units = [quad.id for quad in quads]
    found: list[StageReading] = []
    for number, (point, stream) in enumerate(zip(points, streams, strict=True)):
        progress.step(len(points) + number, total)
        reason = BLIND if point.blind else too_few_quads(stream.shape[1], units, folds)
        features = stream.reshape(len(quads), len(CELLS), -1)
        answers = None if reason else probe_quads(features, label, foil, folds)
        found.append(StageReading(point, answers, reason))
    return tuple(found)


def _untrained(
    models: Mapping[Role, PatchableModel], config: ComparisonConfig
) -> dict[str, PatchableModel]:
    """Untrained nets like teacher and student; none for a model that cannot be made again."""
    made: dict[int, PatchableModel] = {}
    found: dict[str, PatchableModel] = {}
    for role in PAIR:
        model = models[role]
        try:
            if id(model) not in made:
                made[id(model)] = untrained_like(model, config.seed)
        except CheckpointError:
            continue
        found[f"untrained_{role}"] = made[id(model)]
    return found


def _aligned(
    quads: tuple[Quad[Input], ...], models: Mapping[str, PatchableModel]
) -> tuple[Quad[Input], ...]:
    for model in {id(model): model for model in models.values()}.values():
        try:
            quads, _ = align_quads(model, quads)
        except DataError:
            return ()
    return quads


def _class_numbers(
    quads: Sequence[Quad[Input]],
) -> tuple[Int[np.ndarray, " quad"], Int[np.ndarray, " quad"]]:
    """Numbers of labels and foils among the classes that occur, whatever their case."""
    labels, foils = [q.label.casefold() for q in quads], [q.foil.casefold() for q in quads]
    _, codes = np.unique([*labels, *foils], return_inverse=True)
    return codes[: len(quads)], codes[len(quads) :]


def _nothing(models: Mapping[str, PatchableModel], reason: str) -> StageReadings:
    return StageReadings(
        {
            role: tuple(StageReading(point, None, reason) for point in stream_points(model))
            for role, model in models.items()
        }
    )
