"""One finished run asked the test questions: its measures, and what comparisons need besides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors import safe_open
from torch import Tensor

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.cues import replicate_cues
from behavior.examples import ALIGNED_CELLS, CELLS, Example, Quad, Task
from behavior.inputs import Input
from behavior.measures import measure_cells, measure_quads, replicate_rankings
from behavior.readout import read_labels
from behavior.resampling import Resamples, replicate_means, resample_units
from distillation.classifier import Classifier
from distillation.evidence import N_QUADS, QUADS_SEED
from distillation.evidence.labelled import LabelledAnswers, LabelledSource, answer_labelled
from distillation.evidence.tables import MEASURES, Run
from distillation.evidence.trios import RecipeJson
from distillation.folders import WEIGHTS, read_record
from distillation.models import load_classifier

N_EXAMPLES = 2000

CLAIM_MEASURES = ("accuracy_N", "accuracy_C", "spurious_gap", "spurious_share", "auc4")
"""What the claims are told in; resampled over quads as well."""


@dataclass(frozen=True, slots=True)
class HeldOutData:
    """What every run is asked, the same for all.

    Attributes:
        labels: Names of the classes of the task.
        quads: Factorial quads of the test split.
        examples: In-domain examples of the test split.
        resamples: Over the quads.
        labelled: Further examples, asked by group.
    """

    labels: tuple[str, ...]
    quads: tuple[Quad[Any], ...]
    examples: tuple[Example[Any], ...]
    resamples: Resamples
    labelled: tuple[LabelledSource, ...] = ()

    @classmethod
    def draw(
        cls,
        task: Task[Any],
        n_quads: int = N_QUADS,
        seed: int = QUADS_SEED,
        labelled: Mapping[str, Task[Any]] | None = None,
    ) -> "HeldOutData":
        """Quads and in-domain examples of the test split of a task.

        Args:
            task: Of the quads; one without a split `test` gives no in-domain examples.
            n_quads: Number of quads.
            seed: Draws quads and examples.
            labelled: Further sources by the name that the tables give them.
        """
        quads = task.quads(n_quads, seed)
        ids, templates = [quad.id for quad in quads], [quad.template for quad in quads]
        has_test = "test" in task.splits
        examples = tuple(task.examples("test", N_EXAMPLES, seed)) if has_test else ()
        sources = tuple(
            LabelledSource.draw(name, source, N_EXAMPLES, seed)
            for name, source in (labelled or {}).items()
        )
        return cls(task.labels, quads, examples, resample_units(ids, templates), sources)


@dataclass(frozen=True, eq=False)
class Measured:
    """A run with its answers.

    Attributes:
        run: Its measures.
        recipe: What it was trained by.
        n_parameters: Numbers in its weights file.
        predictions: [quad, cell] position of the answer among the task labels.
        right: [quad, cell] whether the answer is right.
        types: [quad] kind of the quad, its template; empty where the task has none.
        replicates: [replicate] each of `CLAIM_MEASURES` on the quads (first) and their resamples.
        labelled: Answers to the labelled sources, by their names.
    """

    run: Run
    recipe: RecipeJson
    n_parameters: int
    predictions: Int[np.ndarray, "quad cell"]
    right: Bool[np.ndarray, "quad cell"]
    types: tuple[str, ...]
    replicates: Mapping[str, Float[np.ndarray, " replicate"]]
    labelled: Mapping[str, LabelledAnswers] = field(default_factory=dict[str, LabelledAnswers])


def measure_run(folder: Path, data: HeldOutData) -> Run:
    """Measure one finished folder.

    Raises:
        ResultError: If the folder is no finished training.
    """
    return measure_folder(folder, data).run


def measure_folder(folder: Path, data: HeldOutData) -> Measured:
    """Measure one finished folder and keep its answers.

    Raises:
        CircuitsError: If the folder is no finished training, or does not fit the task.
    """
    record = read_record(folder)
    classifier = load_classifier(folder)
    answers = _answer(classifier, data)
    cells = measure_cells(answers, data.resamples)
    measured = measure_quads(answers, data.resamples)
    found = {name: estimate.value for name, estimate in measured.items()}
    found |= {f"accuracy_{cell}": cells[cell]["accuracy"].value for cell in CELLS}
    found["id_accuracy"] = _in_domain(classifier, data)
    recipe = cast(dict[str, object], record["recipe"])
    run = Run(
        recipe=cast(str, recipe["name"]),
        seed=cast(int, record["seed"]),
        digest=cast(str, record["digest"]),
        seconds=cast(float, record["seconds"]),
        values={name: found.get(name) for name in MEASURES},
    )
    table = answers.answers
    return Measured(
        run,
        recipe,
        count_parameters(folder),
        table.predictions,
        table.right,
        answers.templates,
        _replicate(answers, data.resamples),
        {source.name: answer_labelled(classifier, source) for source in data.labelled},
    )


def count_parameters(folder: Path) -> int:
    """Numbers in the weights file of a folder."""
    with safe_open(folder / WEIGHTS, framework="np") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


def _replicate(
    answers: QuadAnswers, resamples: Resamples
) -> dict[str, Float[np.ndarray, " replicate"]]:
    rows = resamples.over(answers.units)
    right = answers.answers.right.astype(np.float64)
    cells = replicate_means(rows.totals(right), rows.totals(np.ones_like(right)), rows)
    aligned = np.array([cell in ALIGNED_CELLS for cell in CELLS])
    return {
        "accuracy_N": cells[:, CELL_COLUMNS["N"]],
        "accuracy_C": cells[:, CELL_COLUMNS["C"]],
        "spurious_gap": cells[:, aligned].mean(1) - cells[:, ~aligned].mean(1),
        "spurious_share": replicate_cues(answers.label_probabilities, rows)["spurious_share"],
        "auc4": replicate_rankings(answers, resamples)["auc4"],
    }


def _answer(classifier: Classifier, data: HeldOutData) -> QuadAnswers:
    readout = read_labels(classifier.classes, data.labels)

    def logits(inputs: Sequence[Input]) -> Float[Tensor, "input n_labels"]:
        return readout.task_logits(classifier.predict(classifier.encode(inputs)))

    quads = data.quads
    return QuadAnswers(
        {cell: logits([quad.cell(cell) for quad in quads]) for cell in CELLS},
        readout.index([quad.label for quad in quads]),
        readout.index([quad.foil for quad in quads]),
        tuple(quad.id for quad in quads),
        tuple(quad.template for quad in quads),
    )


def _in_domain(classifier: Classifier, data: HeldOutData) -> float | None:
    if not data.examples:
        return None
    source = LabelledSource("in the domain", data.labels, data.examples)
    return float(answer_labelled(classifier, source).right.mean())
