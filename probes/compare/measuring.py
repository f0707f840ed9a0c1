"""All measurements of a comparison of two models, one after the other.

1. Streams: the mean stream of every input at every stage of every model.
2. Probes: what is readable, and the control tasks, at every stage.
3. Lens: what the classifier would answer at every stage, raw and tuned.
4. Erasure: core and shortcut taken out at every stage, on quads that did not fit the map.
5. Similarity: CKA of every two stages; of the student with its twin, if there is one.
6. Attention: distances of heads and attention to overlapping words, or maps of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float

from behavior.estimates import Estimate
from behavior.examples import Cell
from behavior.inputs import TextInput
from behavior.resampling import Resamples, resample_units
from behavior.statistics import estimate_means
from patching import PatchableModel
from probes.compare.attending import AttentionFindings, compare_attention
from probes.compare.looking import ImageMaps, read_maps
from probes.compare.opening import Ready
from probes.erasure_profile import Erasure, ErasureQuads, erase_by_stage
from probes.lens import StageMargins, raw_margins, read_states, tuned_margins
from probes.linear import QUESTIONS, Question, probe_quads, readability, too_few_quads
from probes.selectivity import (
    NO_WORDS,
    Control,
    Selectivity,
    measure_selectivity,
    quad_signs,
    word_signs,
)
from probes.similarity import StageSimilarity, compare_stages
from probes.stream import Point, pooled_stream, stream_points

Lens = Literal["raw", "tuned"]

CONTROLS: tuple[Control, ...] = get_args(Control)
BLIND = "the decoder has not read the input here"
MOST_TESTED = 100
"""Quads on which erasures are run."""

Streams = list[Float[np.ndarray, "quad 4 _"]]


@runtime_checkable
class Progress(Protocol):
    """What is told while it runs."""

    def stage(self, name: str) -> None:
        """A part begins."""
        ...

    def step(self, done: int, total: int) -> None:
        """So much of the part is done."""
        ...


@dataclass(frozen=True, eq=False)
class StageFindings:
    """What was found at one stage of one model.

    Attributes:
        point: The stage.
        readability: By question.
        selectivity: By control task; a reason where it was not measured.
        lens: Mean margins of A, N, C and L, in logits, by kind.
        erasures: Core, then shortcut.
    """

    point: Point
    readability: dict[Question, Estimate]
    selectivity: dict[Control, Selectivity]
    lens: dict[Lens, tuple[Estimate, ...]]
    erasures: tuple[Erasure, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that was measured.

    Attributes:
        ready: Models and quads.
        stages: By `teacher` and `student`.
        similarity: Teacher's stages with student's.
        floor: Student's stages with its twin's; None without a twin.
        attention: None where a model has no attention or images are cut differently.
        maps: Of one quad of images; None for texts.
    """

    ready: Ready
    stages: dict[str, tuple[StageFindings, ...]]
    similarity: tuple[StageSimilarity, ...]
    floor: tuple[StageSimilarity, ...] | None
    attention: AttentionFindings | None
    maps: ImageMaps | None


def measure(
    ready: Ready, progress: Progress, seed: int = 0, batch_size: int | None = None
) -> Findings:
    """Measure two models that are ready."""
    streams = {
        role: _streams(model, ready, batch_size, role, progress)
        for role, model in ready.models.items()
    }
    stages = {
        role: _stages(role, streams[role], ready, seed, batch_size, progress)
        for role in ("teacher", "student")
    }
    progress.stage("similarity")
    similarity = compare_stages(streams["teacher"], streams["student"], ready.resamples, seed)
    floor = None
    if "twin" in streams:
        floor = compare_stages(streams["student"], streams["twin"], ready.resamples, seed)
    progress.stage("attention")
    is_text = isinstance(ready.quads[0].A, TextInput)
    return Findings(
        ready=ready,
        stages=stages,
        similarity=similarity,
        floor=floor,
        attention=compare_attention(ready.models, ready.quads, progress.step, batch_size),
        maps=None if is_text else read_maps(ready.models, ready.quads[0]),
    )


def _streams(
    model: PatchableModel, ready: Ready, batch_size: int | None, role: str, progress: Progress
) -> Streams:
    progress.stage(f"streams of the {role}")
    found = pooled_stream(model, ready.inputs, stream_points(model), batch_size, progress.step)
    return [each.reshape(len(ready.quads), 4, -1) for each in found]


def _stages(
    role: str,
    streams: Streams,
    ready: Ready,
    seed: int,
    batch_size: int | None,
    progress: Progress,
) -> tuple[StageFindings, ...]:
    model, readout = ready.models[role], ready.readouts[role]
    points = stream_points(model)
    progress.stage(f"probes of the {role}")
    read: list[dict[Question, Estimate]] = []
    selective: list[dict[Control, Selectivity]] = []
    for number, (point, stream) in enumerate(zip(points, streams, strict=True)):
        read.append(_readability(point, stream, ready))
        selective.append(_selectivity(point, stream, ready, seed))
        progress.step(number + 1, len(points))
    progress.stage(f"lens of the {role}")
    states = read_states(model, ready.quads, batch_size, progress.step)
    lenses = {
        "raw": _lens(raw_margins(model, states, readout), ready.resamples),
        "tuned": _lens(tuned_margins(model, states, readout, ready.folds), ready.resamples),
    }
    progress.stage(f"erasure in the {role}")
    erasures = _erasures(role, points, streams, ready, seed, batch_size, progress)
    return tuple(
        StageFindings(
            point,
            read[i],
            selective[i],
            {"raw": lenses["raw"][i], "tuned": lenses["tuned"][i]},
            erasures[2 * i : 2 * i + 2],
        )
        for i, point in enumerate(points)
    )


def _refusal(point: Point, stream: Float[np.ndarray, "quad 4 d"], ready: Ready) -> str | None:
    if point.blind:
        return BLIND
    return too_few_quads(stream.shape[-1], [quad.id for quad in ready.quads], ready.folds)


def _readability(
    point: Point, stream: Float[np.ndarray, "quad 4 d"], ready: Ready
) -> dict[Question, Estimate]:
    reason = _refusal(point, stream, ready)
    if reason is not None:
        return {question: Estimate.null(reason) for question in QUESTIONS}
    answers = probe_quads(stream, ready.label, ready.foil, ready.folds)
    return {q: readability(answers.margins(q), q, ready.resamples) for q in QUESTIONS}


def _selectivity(
    point: Point, stream: Float[np.ndarray, "quad 4 d"], ready: Ready, seed: int
) -> dict[Control, Selectivity]:
    reason = _refusal(point, stream, ready)
    is_text = isinstance(ready.quads[0].A, TextInput)
    cells: dict[Control, tuple[Cell, Cell]] = {
        "core_AC_word": ("A", "C"),
        "core_NL_word": ("N", "L"),
    }
    found: dict[Control, Selectivity] = {}
    for control in CONTROLS:
        missing = reason or (NO_WORDS if control in cells and not is_text else None)
        if missing is not None:
            found[control] = Selectivity(*[Estimate.null(missing)] * 3)
            continue
        signs = quad_signs(len(ready.quads), seed=seed)
        if control in cells:
            signs = word_signs(ready.quads, cells[control], seed=seed)
        folds = ready.folds if control in cells else None
        given = stream, ready.label, ready.foil, control, signs, ready.resamples, folds
        found[control] = measure_selectivity(*given)
    return found


def _lens(margins: StageMargins, resamples: Resamples) -> list[tuple[Estimate, ...]]:
    found: list[tuple[Estimate, ...]] = []
    for values, reason in zip(margins.margins, margins.reasons, strict=True):
        if reason is not None:
            found.append((Estimate.null(reason),) * 4)
        else:
            found.append(tuple(estimate_means(values, resamples)))
    return found


def _erasures(
    role: str,
    points: Sequence[Point],
    streams: Streams,
    ready: Ready,
    seed: int,
    batch_size: int | None,
    progress: Progress,
) -> tuple[Erasure, ...]:
    held_out = np.flatnonzero(ready.tested)
    unused = set(held_out[MOST_TESTED:].tolist())
    kept = [i for i in range(len(ready.quads)) if i not in unused]
    quads = tuple(ready.quads[i] for i in kept)
    tested = ready.tested[kept]
    ids = [quad.id for quad, held in zip(quads, tested, strict=True) if held]
    templates = [quad.template for quad, held in zip(quads, tested, strict=True) if held]
    given = ErasureQuads(
        quads=quads,
        label=ready.label[kept],
        foil=ready.foil[kept],
        tested=tested,
        resamples=resample_units(ids, templates, len(ready.resamples.weights), seed),
    )
    run = partial(erase_by_stage, seed=seed, batch_size=batch_size, progress=progress.step)
    return run(
        ready.models[role],
        given,
        ready.readouts[role],
        points,
        [stream[kept] for stream in streams],
    )
