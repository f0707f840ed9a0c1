"""Puts the numbers of a comparison under the names of `result.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np

from behavior.estimates import Estimate
from behavior.examples import CELLS, Contrast, Pairs
from behavior.readout import Readout
from behavior.threshold import ThresholdRefit
from circuits.compare.asking import RoleAnswers
from circuits.compare.components import RoleEffects
from circuits.compare.config import Role
from circuits.compare.differences import Differences
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS, RoleMeasures
from circuits.compare.roles import RoleEntry
from circuits.compare.stages import LATER
from circuits.compare.storage import Arrays, Json, null
from patching import PatchableModel

EROSION_KEYS = ("spurious_gap", "spurious_share", "auc", "auc4", "conflicting_accuracy")
LOSS_KEYS = ("C", "N", "mean")
NOT_MATCHED = "heads are not matched in this version"


def describe_models(
    roles: Mapping[Role, RoleEntry],
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    measures: Mapping[Role, RoleMeasures],
    nodes: Mapping[Role, Mapping[Contrast, Json]],
) -> Json:
    """`models`: what each role is, how it behaves, and what its components do."""
    described: Json = {}
    for role, model in models.items():
        found = measures[role]
        described[role] = {
            "checkpoint": roles[role].checkpoint.name,
            "digest": model.digest,
            "family": model.spec.family,
            "role": role,
            "spec": {key: _plain(value) for key, value in asdict(model.spec).items()},
            "readout": readouts[role].describe(),
            "behavior": numbers(found.behavior),
            "groups": {group: numbers(each) for group, each in found.groups.items()},
            **(
                {"pairs": {c: numbers(each) for c, each in found.pairs.items()}}
                if found.pairs
                else {}
            ),
            **({"effects": dict(nodes[role])} if role in nodes else {}),
        }
    return described


def describe_task(evidence: Evidence) -> Json:
    """`task`: where the inputs come from, and the order that the arrays are in."""
    quads = evidence.quads
    return {
        "name": evidence.task.name,
        "labels": list(evidence.task.labels),
        "source": evidence.task.describe(),
        "has_quads": bool(quads),
        "quads": [quad.id for quad in quads],
        "templates": [quad.template for quad in quads],
        "label": [quad.label for quad in quads],
        "foil": [quad.foil for quad in quads],
        "pairs": {contrast: _describe_pairs(pairs) for contrast, pairs in evidence.pairs.items()},
        "examples": {
            "split": evidence.split,
            "in_domain": evidence.in_domain,
            "ids": [example.id for example in evidence.examples],
        },
        "alignment": dict(evidence.reports),
    }


def describe_differences(
    differences: Differences | None, agreement: Mapping[str, Mapping[str, Estimate]]
) -> Json:
    """`agreement`, `losses`, `erosion`, `retention` and `tests`; null without quads."""
    tests: Json = {name: null(LATER) for name in ("removal", "necessity", "transplant")}
    if differences is None:
        return {
            "agreement": {"all": {split: numbers(found) for split, found in agreement.items()}},
            "losses": {key: null(NO_QUADS) for key in LOSS_KEYS},
            "erosion": {key: null(NO_QUADS) for key in EROSION_KEYS},
            "retention": null(NO_QUADS),
            "tests": {**tests, "threshold": {"regained": null(NO_QUADS)}},
        }
    answers = differences.answers
    by_group = {
        group: {split: numbers(found) for split, found in splits.items()}
        for group, splits in answers["agreement"].items()
    }
    return {
        "agreement": by_group,
        "losses": numbers(answers["losses"]),
        "erosion": numbers(answers["erosion"]),
        "retention": differences.retention.to_json(),
        "tests": {**tests, "threshold": _describe_threshold(differences.threshold)},
    }


def gather_arrays(answers: Mapping[Role, RoleAnswers], effects: RoleEffects) -> Arrays:
    """Per-example arrays: class logits of every role, effects of teacher and student."""
    arrays: Arrays = {
        f"{role}.logits.{asked}": logits.numpy().astype(np.float32)
        for role, given in answers.items()
        for asked, logits in given.logits.items()
    }
    for role, by_contrast in effects.items():
        for contrast, found in by_contrast.items():
            arrays |= found.arrays(role, contrast)
    return arrays


def numbers(estimates: Mapping[str, Estimate]) -> Json:
    """Estimates as they are stored."""
    return {name: found.to_json() for name, found in estimates.items()}


def limits(evidence: Evidence, roles: Iterable[Role]) -> list[str]:
    """What this result cannot say, as sentences for the page."""
    said = [
        "Where in the networks it was lost: whether the core feature is still readable at each "
        "stage is not measured in this version.",
        "Which head of the student corresponds to which head of the teacher: heads are shown side "
        "by side and not matched.",
        "Whether a component causes the loss: effects say what carries a contrast in one model, "
        "and removing or giving back components has not been tried.",
        "Anything about the recipe: these are two checkpoints. A claim about a recipe needs "
        "several seeds.",
    ]
    present = set(roles)
    if "teacher_plain" not in present:
        said.append("How much of the debiasing was kept: no plain teacher was given.")
    if "student_debiased" not in present:
        said.append(
            "Whether distilling or the small size is to blame: no directly debiased "
            "student was given."
        )
    if not evidence.quads:
        said.append("How core and shortcut share the decision: the data hold no quads.")
    return said


def _describe_pairs(pairs: Pairs) -> Json:
    fields: Mapping[str, Sequence[str]] = {
        "units": pairs.units,
        "templates": pairs.templates,
        "labels": pairs.labels,
        "foils": pairs.foils,
        "steps": pairs.steps,
    }
    return {name: list(values) for name, values in fields.items()}


def _describe_threshold(refit: ThresholdRefit) -> Json:
    return {
        name: value.to_json() if isinstance(value, Estimate) else _plain(value)
        for name, value in cast(Mapping[str, object], refit).items()
    }


def _plain(value: object) -> object:
    return list(cast(tuple[object, ...], value)) if isinstance(value, tuple) else value


def failures(
    evidence: Evidence,
    answers: Mapping[Role, RoleAnswers],
    n_per_cell: int = 3,
) -> list[Json]:
    """Examples on which the student fails and the teacher does not, surest failures first."""
    teacher, student = answers["teacher"].quads, answers["student"].quads
    if teacher is None or student is None:
        return []
    found: list[Json] = []
    used: set[str] = set()
    right, wrong = teacher.answers.right, ~student.answers.right
    for column, cell in enumerate(CELLS):
        truth = student.answers.truth[:, column]
        rows = np.arange(len(truth))
        given = {
            role: each.answers.probabilities[rows, column, truth]
            for role, each in (("teacher", teacher), ("student", student))
        }
        chosen = [
            int(i)
            for i in np.argsort(given["student"], kind="stable")
            if right[i, column] and wrong[i, column]
        ]
        for i in [i for i in chosen if evidence.quads[i].id not in used][:n_per_cell]:
            quad = evidence.quads[i]
            used.add(quad.id)
            found.append(
                {
                    "id": quad.id,
                    "cell": cell,
                    "template": quad.template,
                    "truth": quad.truth(cell),
                    "input": quad.cell(cell).to_json(),
                    **{role: float(values[i]) for role, values in given.items()},
                }
            )
    return found
