"""What a model's answers say about it: accuracy, use of core and shortcut, distribution.

Everything follows from task logits and groups alone. Effects without a suffix are in probability
of the label against the foil, those with `_logits` in logits (`behavior.cues` defines them).
All intervals are 95 %, over units within templates:

    proportions, gaps of proportions, AUC      Wilson's, with the effective number of answers
    means (effects, confidence, entropy)       bootstrap-t, cut at the possible range
    ratios (spurious share)                    percentile
    ECE                                        basic bootstrap, widened to hold the value

With fewer than five units (five wrong ones for `confidence_when_wrong`) only the first have one.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy import special
from torch import Tensor

from behavior.answers import CELL_COLUMNS, Answers, QuadAnswers, example_answers
from behavior.auc import auc_estimate, estimate_auc_replicates, replicate_auc
from behavior.calibration import estimate_calibration_error
from behavior.cues import measure_cues
from behavior.errors import DataError
from behavior.estimates import Estimate
from behavior.examples import ALIGNED_CELLS, CELLS, Cell, Contrast
from behavior.intervals import estimate_gap, estimate_proportion
from behavior.readout import margin
from behavior.resampling import Resamples, resample_units
from behavior.statistics import estimate_means

NO_RIGHT, NO_WRONG = "no right answers", "no wrong answers"

RANKINGS: dict[str, tuple[list[int], list[int]]] = {
    "auc": ([CELL_COLUMNS["A"]], [CELL_COLUMNS["C"]]),
    "auc_NL": ([CELL_COLUMNS["N"]], [CELL_COLUMNS["L"]]),
    "auc4": ([CELL_COLUMNS["A"], CELL_COLUMNS["N"]], [CELL_COLUMNS["C"], CELL_COLUMNS["L"]]),
}
"""Columns of the cells that an AUC ranks above, and below."""


def measure_quads(answers: QuadAnswers, resamples: Resamples) -> dict[str, Estimate]:
    """All measures of one model on quads; the keys are those of `result.json`.

    Args:
        answers: On n quads.
        resamples: Drawn for these quads' ids, in any order.
    """
    rows = resamples.over(answers.units)
    return {
        **_measure_accuracies(answers.answers, rows),
        **measure_cues(answers, rows),
        **{
            name: estimate_auc_replicates(replicates, rows)
            for name, replicates in replicate_rankings(answers, rows).items()
        },
        **measure_distribution(answers.answers.pooled, resamples.over(answers.pooled_units))[0],
    }


def measure_cells(answers: QuadAnswers, resamples: Resamples) -> dict[Cell, dict[str, Estimate]]:
    """Accuracy, margin (logits), probability of the label, and distribution in each cell."""
    rows = resamples.over(answers.units)
    margins = estimate_means(answers.margins, rows)
    probabilities = estimate_means(answers.label_probabilities, rows, bounds=(0.0, 1.0))
    distribution = measure_distribution(answers.answers, rows)
    return {
        cell: {
            "accuracy": estimate_proportion(answers.answers.right[:, [i]], rows),
            "margin": margins[i],
            "probability": probabilities[i],
            **distribution[i],
        }
        for i, cell in enumerate(CELLS)
    }


def measure_examples(
    logits: Float[Tensor, "example n_labels"],
    labels: Int[Tensor, " example"],
    resamples: Resamples | None = None,
    *,
    aligned: Sequence[bool | None] | None = None,
) -> dict[str, Estimate]:
    """Accuracy and distribution on single labelled examples, in-domain ones for instance.

    Args:
        logits: Task logits.
        labels: Position of the true label among the task labels.
        resamples: Drawn for these examples; None if each is a unit of its own.
        aligned: [example] whether the shortcut points to the label, None where not known. If
            given, the accuracies of both groups and their gap are measured as well.

    Raises:
        DataError: If there are no examples, or one of the lists has another length.
    """
    answers = example_answers(logits, labels)
    rows = resamples or resample_units([f"{i:08d}" for i in range(len(labels))])
    measures = {
        "accuracy": estimate_proportion(answers.right, rows),
        **measure_distribution(answers, rows)[0],
    }
    if aligned is None:
        return measures
    if len(aligned) != len(labels):
        raise DataError(f"{len(aligned)} alignments were given for {len(labels)} examples.")
    with_shortcut = np.array([[flag is True] for flag in aligned])
    against_it = np.array([[flag is False] for flag in aligned])
    return measures | {
        "aligned_accuracy": estimate_proportion(answers.right, rows, where=with_shortcut),
        "conflicting_accuracy": estimate_proportion(answers.right, rows, where=against_it),
        "spurious_gap": estimate_gap(answers.right, rows, first=with_shortcut, second=against_it),
    }


def measure_pairs(
    clean: Float[Tensor, "pair n_labels"],
    corrupted: Float[Tensor, "pair n_labels"],
    label: Int[Tensor, " pair"],
    foil: Int[Tensor, " pair"],
    resamples: Resamples,
    *,
    contrast: Contrast,
) -> dict[str, Estimate]:
    """What pairs without quads allow: the effect of one cue, and of the core also the accuracy.

    `effect` is the clean minus the corrupted probability of the label against the foil (with
    `_logits`: margin). It is not the `core_effect` or `shortcut_effect` of quads, which are means
    over both states of the other cue. In a shortcut contrast pairs do not tell the true class.

    Args:
        clean: Task logits of the label-wards inputs.
        corrupted: Task logits of the foil-wards inputs.
        label: Class that the clean inputs point to.
        foil: Class that the corrupted inputs point to.
        resamples: Drawn for these pairs.
        contrast: What differs within a pair.
    """
    sides = example_answers(clean, label), example_answers(corrupted, foil)
    right = np.concatenate([side.right for side in sides], axis=1)
    margins = _label_margins((clean, corrupted), label, foil)
    probabilities = np.asarray(special.expit(margins))
    measures = {
        "effect": _estimate_fall(probabilities, resamples, (-1.0, 1.0)),
        "effect_logits": _estimate_fall(margins, resamples, None),
    }
    if contrast == "shortcut":
        return measures
    of_clean = np.broadcast_to([True, False], right.shape)
    accuracies = [estimate_proportion(side.right, resamples) for side in sides]
    return measures | {
        "clean_accuracy": accuracies[0],
        "corrupted_accuracy": accuracies[1],
        "accuracy": estimate_proportion(right, resamples),
        "accuracy_gap": estimate_gap(right, resamples, first=of_clean, second=~of_clean),
        "min_accuracy": _least(accuracies),
        "auc": auc_estimate(margins[:, [0]], margins[:, [1]], resamples),
    }


def measure_distribution(answers: Answers, resamples: Resamples) -> list[dict[str, Estimate]]:
    """For each column: confidence, also when right and when wrong, entropy (nats) and ECE."""
    right = answers.right
    certain = (1 / answers.n_labels, 1.0)
    confidence = answers.confidence
    means = {
        "confidence": estimate_means(confidence, resamples, bounds=certain),
        "confidence_when_right": estimate_means(
            confidence, resamples, where=right, bounds=certain, missing=NO_RIGHT
        ),
        "confidence_when_wrong": estimate_means(
            confidence, resamples, where=~right, bounds=certain, missing=NO_WRONG
        ),
        "entropy": estimate_means(
            answers.entropy, resamples, bounds=(0.0, float(np.log(answers.n_labels)))
        ),
    }
    columns = [
        Answers(answers.logits[:, [i]], answers.truth[:, [i]]) for i in range(right.shape[1])
    ]
    return [
        {name: estimates[i] for name, estimates in means.items()}
        | {"ece": estimate_calibration_error(column, resamples)}
        for i, column in enumerate(columns)
    ]


def replicate_rankings(
    answers: QuadAnswers, resamples: Resamples
) -> dict[str, Float[np.ndarray, " replicate"]]:
    """Each AUC of the margins on the data (first) and on each resample."""
    margins = answers.margins
    return {
        name: replicate_auc(margins[:, above], margins[:, below], resamples)
        for name, (above, below) in RANKINGS.items()
    }


def _measure_accuracies(answers: Answers, resamples: Resamples) -> dict[str, Estimate]:
    right = answers.right
    aligned = np.broadcast_to([cell in ALIGNED_CELLS for cell in CELLS], right.shape)
    only = {cell: np.broadcast_to([cell == c for c in CELLS], right.shape) for cell in CELLS}
    cells = [estimate_proportion(right, resamples, where=only[cell]) for cell in ("A", "C")]
    return {
        "aligned_accuracy": estimate_proportion(right, resamples, where=aligned),
        "conflicting_accuracy": estimate_proportion(right, resamples, where=~aligned),
        "ood_accuracy": estimate_proportion(right, resamples),
        "spurious_gap": estimate_gap(right, resamples, first=aligned, second=~aligned),
        "accuracy_gap_AC": estimate_gap(right, resamples, first=only["A"], second=only["C"]),
        "min_AC_accuracy": _least(cells),
    }


def _label_margins(
    sides: tuple[Float[Tensor, "pair n_labels"], Float[Tensor, "pair n_labels"]],
    label: Int[Tensor, " pair"],
    foil: Int[Tensor, " pair"],
) -> Float[np.ndarray, "pair side"]:
    columns = [margin(side.double(), label.long(), foil.long()) for side in sides]
    return np.stack([column.detach().cpu().numpy() for column in columns], axis=1)


def _estimate_fall(
    sides: Float[np.ndarray, "pair side"],
    resamples: Resamples,
    bounds: tuple[float, float] | None,
) -> Estimate:
    return estimate_means(sides[:, [0]] - sides[:, [1]], resamples, bounds=bounds)[0]


def _least(accuracies: Sequence[Estimate]) -> Estimate:
    """The smallest of several proportions, between the smallest of their lower and upper ends."""
    value, low, high = (
        min(end for end in ends if end is not None)
        for ends in zip(*((e.value, e.low, e.high) for e in accuracies), strict=True)
    )
    return Estimate(value, low, high, min(estimate.n for estimate in accuracies))
