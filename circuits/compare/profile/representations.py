"""How similar the representations of teacher and student are, stage by stage.

1. Both models are run on some quads of the comparison; the features of an input at a stage are the
   mean of the stream over its positions, those that the weak probes read.
2. Every stage of the teacher is compared with every stage of the student by unbiased minibatch CKA
   (`probes.similarity`), on aligned and on conflicting inputs of the same quads.

What is alike need not be used alike: CKA looks at whole representations, and the classifier at a
direction in them. A difference between aligned and conflicting inputs says that the two models
part where the shortcut contradicts the core.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float

from behavior.examples import CELLS, Quad
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.resampling import resample_units
from circuits.compare.config import ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.storage import Arrays, Json
from patching import PatchableModel
from probes.similarity import (
    CKA_RESAMPLES,
    Grams,
    Minibatches,
    StageSimilarity,
    compare_grams,
    stage_grams,
)
from probes.stream import Point, pooled_stream, stream_points

MOST_QUADS = 256
LEAST_QUADS = 4
FEW = f"fewer than {LEAST_QUADS} quads are left"

Streams = list[Float[np.ndarray, "quad 4 _"]]


@dataclass(frozen=True, slots=True)
class Representations:
    """Similarity of every two stages.

    Attributes:
        teacher: [stage] points of its stream.
        student: [stage] likewise.
        pairs: One for every two stages; empty if nothing was measured.
        quads: Ids of those that it rests on.
        reason: Why nothing was measured; None if it was.
        arrays: `<role>.grams.<stage>`, the Gram matrices that all numbers are made of, and which
            quads are in which minibatch.
    """

    teacher: tuple[Point, ...] = ()
    student: tuple[Point, ...] = ()
    pairs: tuple[StageSimilarity, ...] = ()
    quads: tuple[str, ...] = ()
    reason: str | None = None
    arrays: Arrays = field(default_factory=dict[str, np.ndarray], compare=False)


def measure_similarity(
    models: Mapping[Role, PatchableModel],
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> Representations:
    """CKA of every stage of the teacher with every stage of the student, on the same quads."""
    if len(evidence.quads) < LEAST_QUADS:
        return Representations(reason=FEW if evidence.quads else NO_QUADS)
    progress.stage("similarity of stages")
    quads = _some(evidence.quads, config.seed)
    depends: dict[str, object] = {
        "teacher": models["teacher"],
        "student": models["student"],
        "data": quads,
        "seed": config.seed,
        "number of resamples": config.n_resamples,
        "batch size": config.batch_size,
    }
    return steps.run(
        "similarity of stages", depends, partial(_compare, models, quads, config, progress)
    )


def describe_representations(found: Representations) -> Json:
    """`similarity` of the result: method, quads, and a row for every two stages."""
    if found.reason is not None:
        return {"pairs": [], "reason": found.reason}
    return {
        "method": "unbiased linear CKA in minibatches, of the mean stream",
        "quads": list(found.quads),
        "pairs": [
            {
                "teacher": found.teacher[each.first].name,
                "student": found.student[each.second].name,
                "aligned": each.aligned.to_json(),
                "conflicting": each.conflicting.to_json(),
                "difference": each.difference.to_json(),
            }
            for each in found.pairs
        ],
    }


def _some(quads: tuple[Quad[Input], ...], seed: int) -> tuple[Quad[Input], ...]:
    """At most `MOST_QUADS` of them, drawn at random, in their order."""
    order = np.random.default_rng(seed).permutation(len(quads))[:MOST_QUADS]
    return tuple(quads[i] for i in sorted(order.tolist()))


def _compare(
    models: Mapping[Role, PatchableModel],
    quads: tuple[Quad[Input], ...],
    config: ComparisonConfig,
    progress: Progress,
) -> Representations:
    teacher, student = models["teacher"], models["student"]
    ours = _streams(teacher, quads, config.batch_size, progress)
    theirs = ours if student is teacher else _streams(student, quads, config.batch_size, progress)
    units, templates = [quad.id for quad in quads], [quad.template for quad in quads]
    drawn = resample_units(units, templates, min(config.n_resamples, CKA_RESAMPLES), config.seed)
    batches = Minibatches.draw(len(quads), config.seed)
    grams = {
        "teacher": stage_grams(ours, batches),
        "student": stage_grams(theirs, batches),
    }
    return Representations(
        stream_points(teacher),
        stream_points(student),
        compare_grams(grams["teacher"], grams["student"], batches, drawn),
        tuple(units),
        arrays=_store(grams, {"teacher": teacher, "student": student}, batches),
    )


def _store(
    grams: Mapping[str, Sequence[Grams]],
    models: Mapping[str, PatchableModel],
    batches: Minibatches,
) -> Arrays:
    """Gram matrices without what follows by symmetry: [side, place], minibatch after minibatch."""
    arrays: Arrays = {
        "similarity.members": np.concatenate(batches.members).astype(np.int32),
        "similarity.sizes": np.array([len(each) for each in batches.members], dtype=np.int32),
    }
    for role, stages in grams.items():
        for point, stage in zip(stream_points(models[role]), stages, strict=True):
            flat = [each[:, *np.triu_indices(each.shape[-1], 1)] for each in stage]
            arrays[f"{role}.grams.{point.name}"] = np.concatenate(flat, 1).astype(np.float32)
    return arrays


def _streams(
    model: PatchableModel,
    quads: tuple[Quad[Input], ...],
    batch_size: int | None,
    progress: Progress,
) -> Streams:
    inputs = [quad.cell(cell) for quad in quads for cell in CELLS]
    found = pooled_stream(model, inputs, stream_points(model), batch_size, progress.step)
    return [each.reshape(len(quads), len(CELLS), -1) for each in found]
