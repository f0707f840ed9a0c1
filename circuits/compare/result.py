"""Puts the numbers of a comparison under the names of `result.json`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from behavior.estimates import Estimate
from behavior.examples import Contrast, Example, Pairs, Quad
from behavior.inputs import Input
from behavior.readout import Readout
from behavior.threshold import ThresholdRefit
from circuits.compare.ablating import RoleAblations
from circuits.compare.asking import RoleAnswers
from circuits.compare.components import RoleEffects
from circuits.compare.config import Role
from circuits.compare.differences import Differences
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS, RoleMeasures
from circuits.compare.roles import RoleEntry
from circuits.compare.storage import Arrays, Json, null
from patching import PatchableModel
from patching.models.checkpoints import Checkpoint

EROSION_KEYS = ("spurious_gap", "spurious_share", "auc", "auc4", "conflicting_accuracy")
LOSS_KEYS = ("C", "N", "mean")
READ = (
    "Whether what can be read at a stage is used: a probe shows that a feature is there, not that "
    "the model answers by it."
)
NOT_READ = (
    "Where in the networks it was lost: whether the core feature is still readable at each stage "
    "was not measured."
)
NOT_TRIED = (
    "Whether a component causes the loss: effects say what carries a contrast in one model, and "
    "heads were neither matched nor taken away."
)
CAUSES = (
    "That a mechanism is established: taking heads away and putting nodes in shows what these "
    "interventions do on these quads, and an intervention that restores nothing proves no absence."
)


def describe_models(
    roles: Mapping[Role, RoleEntry],
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    measures: Mapping[Role, RoleMeasures],
    components: Mapping[Role, Json],
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
            **_asked_with(roles[role].checkpoint),
            "spec": {key: _plain(value) for key, value in asdict(model.spec).items()},
            "readout": readouts[role].describe(),
            "behavior": numbers(found.behavior),
            "groups": {group: numbers(each) for group, each in found.groups.items()},
            **(
                {"pairs": {c: numbers(each) for c, each in found.pairs.items()}}
                if found.pairs
                else {}
            ),
            **components.get(role, {}),
        }
    return described


def describe_components(
    effects: Mapping[Role, Mapping[Contrast, Json]],
    attribution: Mapping[Role, Mapping[Contrast, Json]],
    ablations: Mapping[Role, Json],
    circuits: Mapping[Role, Json],
) -> dict[Role, Json]:
    """What is said of the components of teacher and student.

    `effects` and `attribution` by contrast, `ablation` by group, `circuits` and `direct` by
    contrast, and the names of all `edges`. Without pairs `effects` is empty, and there is no
    `attribution` and no circuit.
    """
    parts: Mapping[str, Mapping[Role, Mapping[Any, object]]] = {
        "effects": effects,
        "attribution": attribution,
        "ablation": ablations,
    }
    found: dict[Role, Json] = {}
    for name, by_role in parts.items():
        for role, each in by_role.items():
            if each or name == "effects":
                found.setdefault(role, {})[name] = dict(each)
    for role, branches in circuits.items():
        found.setdefault(role, {}).update(branches)
    return found


def describe_task(
    evidence: Evidence,
    ablated: Sequence[Example[Input]] = (),
    probed: Sequence[Quad[Input]] = (),
) -> Json:
    """`task`: where the inputs come from, and the order that the arrays are in."""
    quads = evidence.quads
    return {
        "name": evidence.task.name,
        "labels": list(evidence.task.labels),
        "source": evidence.task.describe(),
        "has_quads": bool(quads),
        **_describe_quads(quads),
        "pairs": {contrast: _describe_pairs(pairs) for contrast, pairs in evidence.pairs.items()},
        "examples": {
            "split": evidence.split,
            "in_domain": evidence.in_domain,
            "ids": [example.id for example in evidence.examples],
        },
        **({"ablated": [example.id for example in ablated]} if ablated else {}),
        **({"probed": _describe_quads(probed)} if probed else {}),
        "alignment": dict(evidence.reports),
    }


def describe_differences(
    differences: Differences | None,
    agreement: Mapping[str, Mapping[str, Estimate]],
    tests: Json,
) -> Json:
    """`agreement`, `losses`, `erosion`, `retention` and `tests`; null without quads."""
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


def gather_arrays(
    answers: Mapping[Role, RoleAnswers], effects: RoleEffects, ablations: RoleAblations
) -> Arrays:
    """Per-example arrays: class logits of every role, effects of teacher and student."""
    arrays: Arrays = {
        f"{role}.logits.{asked}": logits.numpy().astype(np.float32)
        for role, given in answers.items()
        for asked, logits in given.logits.items()
    }
    for role, by_contrast in effects.items():
        for contrast, found in by_contrast.items():
            arrays |= found.arrays(role, contrast)
    for role, found in ablations.items():
        arrays[f"{role}.ablation"] = found.heads.numpy().astype(np.float32)
    return arrays


def numbers(estimates: Mapping[str, Estimate]) -> Json:
    """Estimates as they are stored."""
    return {name: found.to_json() for name, found in estimates.items()}


def limits(
    evidence: Evidence,
    roles: Iterable[Role],
    ablations: RoleAblations | None = None,
    *,
    readable: bool = False,
    intervened: bool = False,
) -> list[str]:
    """What this result cannot say, as sentences for the page."""
    said = [
        READ if readable else NOT_READ,
        CAUSES if intervened else NOT_TRIED,
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
    if ablations:
        said.append(
            "Through which cue a head acts: the data hold no pairs to patch with, so heads were "
            f"ablated to their {next(iter(ablations.values())).reference}. That shows what a head "
            "does for the right answer in each group."
        )
    return said


def _asked_with(checkpoint: Checkpoint) -> Json:
    """Prompt and label words of a checkpoint that has them."""
    found: Json = {}
    if checkpoint.prompt is not None:
        found["prompt"] = checkpoint.prompt
    if checkpoint.label_words is not None:
        words = checkpoint.label_words
        found["label_words"] = dict(words) if isinstance(words, Mapping) else list(words)
    return found


def _describe_quads(quads: Sequence[Quad[Input]]) -> Json:
    return {
        "quads": [quad.id for quad in quads],
        "templates": [quad.template for quad in quads],
        "label": [quad.label for quad in quads],
        "foil": [quad.foil for quad in quads],
    }


def _describe_pairs(pairs: Pairs[Input]) -> Json:
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
