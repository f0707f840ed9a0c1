"""A comparison as JSON and as tables: every number with its n and interval, no NaN."""

import csv
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from behavior.estimates import Estimate
from behavior.examples import CELLS
from probes.compare.measuring import Findings, StageFindings
from probes.compare.options import Options
from probes.erasure import CONCEPTS, Concept
from probes.erasure_profile import Erasure
from probes.similarity import StageSimilarity
from probes.use import Use, UsePair, compare_use

SCHEMA_VERSION = 1
RESULT = "result.json"
KIND = "probes"
Json = dict[str, object]

_PACKAGES = ("debias-circuits", "torch", "transformers", "scikit-learn", "concept-erasure")
_INTERVAL = ("value", "low", "high", "n", "reason")


@dataclass(frozen=True, slots=True)
class StageUse:
    """A concept at a stage of the student and at the teacher's stage of nearest depth.

    Attributes:
        concept: What was erased.
        teacher_stage: Name.
        student_stage: Name.
        teacher: Answer for the teacher.
        student: Answer for the student.
        pair: Answer for both.
    """

    concept: Concept
    teacher_stage: str
    student_stage: str
    teacher: Use
    student: Use
    pair: UsePair


def stage_uses(found: Findings) -> tuple[StageUse, ...]:
    """Whether core and shortcut are used, at every stage of the student."""
    uses: list[StageUse] = []
    for place, concept in enumerate(CONCEPTS):
        for stage in found.stages["student"]:
            other = _nearest(found.stages["teacher"], stage)
            one, two = other.erasures[place].use, stage.erasures[place].use
            names = other.point.name, stage.point.name
            uses.append(StageUse(concept, *names, one, two, compare_use(one, two)))
    return tuple(uses)


def to_json(found: Findings, options: Options, command: str, seconds: float) -> Json:
    """Everything but the example, as JSON."""
    ready = found.ready
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "config": {"task": ready.task, "seed": options.seed, "n_quads": len(ready.quads)},
        "provenance": {
            "command": command,
            "seconds": round(seconds, 1),
            "versions": {"python": platform.python_version()}
            | {name: _version(name) for name in _PACKAGES},
        },
        "models": {
            role: {"checkpoint": model.name, "digest": model.digest, "family": model.spec.family}
            for role, model in ready.models.items()
        },
        "stages": [
            {"model": role, **_stage(stage)}
            for role, stages in found.stages.items()
            for stage in stages
        ],
        "use": [
            {name: getattr(each, name) for name in StageUse.__slots__} for each in stage_uses(found)
        ],
        "similarity": _similarity(found, found.similarity, "student"),
        "floor": None if found.floor is None else _similarity(found, found.floor, "twin"),
        "attention": _attention(found),
        "quads": {
            "all": [quad.id for quad in ready.quads],
            "erasure_fitted": [
                q.id for q, held in zip(ready.quads, ready.tested, strict=True) if not held
            ],
        },
    }


def write_tables(folder: Path, result: Json, found: Findings) -> None:
    """`result.json`, and a CSV for each kind of number, into an existing folder."""
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    stages = [(role, each) for role, them in found.stages.items() for each in them]
    _write(
        folder / "readability.csv",
        ("model", "stage", "depth", "question"),
        (
            ((role, s.point.name, s.point.depth, question), estimate)
            for role, s in stages
            for question, estimate in s.readability.items()
        ),
    )
    _write(
        folder / "selectivity.csv",
        ("model", "stage", "control", "number"),
        (
            ((role, s.point.name, control, name), getattr(each, name))
            for role, s in stages
            for control, each in s.selectivity.items()
            for name in ("accuracy", "control", "selectivity")
        ),
    )
    _write(
        folder / "lens.csv",
        ("model", "stage", "lens", "cell"),
        (
            ((role, s.point.name, lens, cell), estimate)
            for role, s in stages
            for lens, cells in s.lens.items()
            for cell, estimate in zip(CELLS, cells, strict=True)
        ),
    )
    _write(folder / "erasure.csv", ("model", "stage", "erased", "use", "number"), _erased(stages))
    _write_pairs(folder, found)


def _write_pairs(folder: Path, found: Findings) -> None:
    kinds = ("aligned", "conflicting", "difference")
    names = {role: [each.point.name for each in them] for role, them in found.stages.items()}
    _write(
        folder / "similarity.csv",
        ("teacher", "student", "inputs"),
        (
            ((names["teacher"][s.first], names["student"][s.second], kind), getattr(s, kind))
            for s in found.similarity
            for kind in kinds
        ),
    )
    if found.attention is None:
        return
    _write(
        folder / "attention.csv",
        ("teacher", "student", "inputs"),
        (
            ((pair.teacher, pair.student, kind), getattr(pair, kind))
            for pair in found.attention.pairs
            for kind in kinds
        ),
    )
    _write(
        folder / "overlap.csv",
        ("model", "head", "overlap"),
        (
            ((each.model, each.head, kind), getattr(each, kind))
            for each in found.attention.overlaps
            for kind in ("high", "low")
        ),
    )


def _erased(
    stages: Sequence[tuple[str, StageFindings]],
) -> Iterable[tuple[tuple[object, ...], Estimate]]:
    for role, stage in stages:
        for each in stage.erasures:
            for name, estimate in _erasure_numbers(each).items():
                yield (role, stage.point.name, each.concept, each.use, name), estimate


def _erasure_numbers(each: Erasure) -> dict[str, Estimate]:
    return {
        "before": each.before,
        "after": each.after,
        "change": each.change,
        "drop": each.drop,
        **{
            f"{concept}_effect_{kind}": estimate
            for concept, kinds in each.effects.items()
            for kind, estimate in kinds.items()
        },
        **{f"accuracy_{c}": e for c, e in zip(CELLS, each.accuracy, strict=True)},
    }


def _stage(stage: StageFindings) -> Json:
    return {
        "stage": stage.point.name,
        "depth": stage.point.depth,
        "readability": {name: each.to_json() for name, each in stage.readability.items()},
        "selectivity": {
            control: {
                name: getattr(each, name).to_json()
                for name in ("accuracy", "control", "selectivity")
            }
            for control, each in stage.selectivity.items()
        },
        "lens": {
            lens: {cell: e.to_json() for cell, e in zip(CELLS, cells, strict=True)}
            for lens, cells in stage.lens.items()
        },
        "erasure": {
            each.concept: {
                "use": each.use,
                "rank": each.rank,
                "removed": each.removed,
                "removed_random": each.removed_random,
                **{name: e.to_json() for name, e in _erasure_numbers(each).items()},
            }
            for each in stage.erasures
        },
    }


def _similarity(found: Findings, them: Sequence[StageSimilarity], second: str) -> list[Json]:
    first = "teacher" if second == "student" else "student"
    ours = [each.point.name for each in found.stages[first]]
    theirs = [each.point.name for each in found.stages["student"]]
    return [
        {
            first: ours[each.first],
            second: theirs[each.second] if second == "student" else each.second,
            "aligned": each.aligned.to_json(),
            "conflicting": each.conflicting.to_json(),
            "difference": each.difference.to_json(),
        }
        for each in them
    ]


def _attention(found: Findings) -> Json | None:
    if found.attention is None:
        return None
    return {
        "n_quads": found.attention.n_quads,
        "distances": [
            {
                "teacher": pair.teacher,
                "student": pair.student,
                "aligned": pair.aligned.to_json(),
                "conflicting": pair.conflicting.to_json(),
                "difference": pair.difference.to_json(),
            }
            for pair in found.attention.pairs
        ],
        "overlap": [
            {
                "model": each.model,
                "head": each.head,
                "high": each.high.to_json(),
                "low": each.low.to_json(),
            }
            for each in found.attention.overlaps
        ],
    }


def _write(
    path: Path, names: Sequence[str], rows: Iterable[tuple[tuple[object, ...], Estimate]]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow((*names, *_INTERVAL))
        for key, estimate in rows:
            numbers = (getattr(estimate, name) for name in _INTERVAL)
            writer.writerow((*key, *("" if number is None else number for number in numbers)))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _nearest(stages: Sequence[StageFindings], to: StageFindings) -> StageFindings:
    """Of two as near the earlier one, by which less has been computed."""
    return min(stages, key=lambda each: round(abs(each.point.depth - to.point.depth), 9))
