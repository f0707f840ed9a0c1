"""What every model answers to the evidence; models with the same weights are asked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from behavior.answers import QuadAnswers
from behavior.examples import CELLS, Cell, Contrast, Pairs
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from circuits.compare.config import ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.roles import require_finite
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.twins import Twins
from patching import PatchableModel


@dataclass(frozen=True, eq=False)
class PairAnswers:
    """Task logits on both inputs of pairs.

    Attributes:
        clean: [pair, label] task logits.
        corrupted: [pair, label] task logits.
        label: [pair] position of the label among the task labels.
        foil: [pair] position of the foil.
    """

    clean: Float[Tensor, "pair n_labels"]
    corrupted: Float[Tensor, "pair n_labels"]
    label: Int[Tensor, " pair"]
    foil: Int[Tensor, " pair"]


@dataclass(frozen=True, eq=False)
class RoleAnswers:
    """One model's answers to everything.

    Attributes:
        quads: Answers on the quads; None if there are none.
        pairs: Answers on pairs that come without quads.
        examples: [example, label] task logits; None if there are no examples.
        truth: [example] position of the true label among the task labels.
        logits: Class logits as the model gave them, by what was asked: a cell, `examples`, or a
            contrast with its side.
    """

    quads: QuadAnswers | None
    pairs: Mapping[Contrast, PairAnswers]
    examples: Float[Tensor, "example n_labels"] | None
    truth: Int[Tensor, " example"]
    logits: Mapping[str, Float[Tensor, "row n_classes"]]


def ask_models(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> dict[Role, RoleAnswers]:
    """Answers of every role to the same inputs.

    Raises:
        CheckpointError: If a model answers with NaN.
    """
    known: dict[int, RoleAnswers] = {}
    answers: dict[Role, RoleAnswers] = {}
    for number, (role, model) in enumerate(models.items()):
        progress.step(number, len(models))
        if id(model) not in known:
            known[id(model)] = _asked(role, model, readouts[role], evidence, config, steps)
        answers[role] = known[id(model)]
    return answers


def ask_twins(
    twins: Twins,
    evidence: Evidence,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> dict[str, RoleAnswers]:
    """Answers of every twin, by its name.

    Raises:
        CheckpointError: If a model answers with NaN.
    """
    answers: dict[str, RoleAnswers] = {}
    for number, twin in enumerate(twins):
        progress.step(number, len(twins))
        answers[twin.name] = _asked(twin.name, twin.model, twin.readout, evidence, config, steps)
    return answers


def _asked(
    name: str,
    model: PatchableModel,
    readout: Readout,
    evidence: Evidence,
    config: ComparisonConfig,
    steps: Steps,
) -> RoleAnswers:
    asked = {
        "model": model,
        "readout": readout,
        "data": (evidence.quads, evidence.pairs, evidence.examples),
        "batch size": config.batch_size,
    }
    return steps.run(
        f"answers of {name.replace('_', ' ')}",
        asked,
        partial(_ask, model, readout, evidence, config.batch_size),
    )


def _ask(
    model: PatchableModel, readout: Readout, evidence: Evidence, batch_size: int | None
) -> RoleAnswers:
    asked = {name: inputs for name, inputs in _questions(evidence).items() if inputs}
    flat = [each for inputs in asked.values() for each in inputs]
    answered = require_finite(model, model.logits(flat, batch_size))
    sizes = [len(inputs) for inputs in asked.values()]
    logits = dict(zip(asked, torch.split(answered, sizes), strict=True))
    task = {name: readout.task_logits(given) for name, given in logits.items()}
    return RoleAnswers(
        quads=_quad_answers(evidence, readout, task) if evidence.quads else None,
        pairs={}
        if evidence.quads
        else {
            contrast: _pair_answers(pairs, readout, task)
            for contrast, pairs in evidence.pairs.items()
        },
        examples=task.get("examples"),
        truth=readout.index([example.label for example in evidence.examples]),
        logits=logits,
    )


def _questions(evidence: Evidence) -> dict[str, list[Input]]:
    questions = {"examples": [example.input for example in evidence.examples]}
    if evidence.quads:
        return questions | {cell: [q.cell(cell) for q in evidence.quads] for cell in CELLS}
    for contrast, pairs in evidence.pairs.items():
        questions[f"{contrast}.clean"] = list(pairs.clean)
        questions[f"{contrast}.corrupted"] = list(pairs.corrupted)
    return questions


def _quad_answers(evidence: Evidence, readout: Readout, task: Mapping[str, Tensor]) -> QuadAnswers:
    cells: Sequence[Cell] = CELLS
    return QuadAnswers(
        logits={cell: task[cell] for cell in cells},
        label=readout.index([quad.label for quad in evidence.quads]),
        foil=readout.index([quad.foil for quad in evidence.quads]),
        units=tuple(quad.id for quad in evidence.quads),
        templates=tuple(quad.template for quad in evidence.quads),
    )


def _pair_answers(pairs: Pairs[Input], readout: Readout, task: Mapping[str, Tensor]) -> PairAnswers:
    return PairAnswers(
        clean=task[f"{pairs.contrast}.clean"],
        corrupted=task[f"{pairs.contrast}.corrupted"],
        label=readout.index(pairs.labels),
        foil=readout.index(pairs.foils),
    )
