"""Control tasks: how much of a probe's accuracy is the probe's own doing.

A probe that could learn any labels at all says nothing about the representation (Hewitt and Liang
2019, https://arxiv.org/abs/1909.03368). So the same probe is given labels that were drawn at
random but hold for all that is of one *type*, so that whoever knows the type can answer.
*Selectivity* is the accuracy on the task less that on the control task; a probe is worth believing
where it is large. Two types are used.

    quad    The type is the quad: whether label and foil are exchanged in it is drawn once. The
            probe learns this from one half of the quad's cells and is asked about the other half
            (core: from A and C about N and L; shortcut: from A and N about C and L). Who has room
            for the quads' own directions answers; a weak probe does not.
    word    Texts only; of the core. The type is the first word in which the two inputs of a pair
            differ (who is the subject). Every word is drawn to mean label or foil; pairs whose
            words mean the same do not count. Asked are quads and templates it has not seen. Who
            reads words and their places, and remembers them one by one, answers.

Task and control are fitted on the same inputs and asked about the same quads. Many draws of the
control are made, all fitted at once, as columns of one ridge regression.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from behavior.estimates import Estimate
from behavior.examples import CELLS, LABEL_CELLS, Cell, Quad
from behavior.inputs import TextInput
from behavior.intervals import estimate_gap, estimate_proportion
from behavior.resampling import Resamples
from probes.linear import PENALTY, SHORTCUT_TO_LABEL, fit_probe, quad_targets

Control = Literal["core_quad", "shortcut_quad", "core_AC_word", "core_NL_word"]
Feature = Literal["core", "shortcut"]

DRAWS = 20
NO_WORDS = "images have no words that could be types"

_PLANS: Mapping[Control, tuple[Feature, tuple[Cell, ...], tuple[Cell, ...]]] = {
    "core_quad": ("core", ("A", "C"), ("N", "L")),
    "shortcut_quad": ("shortcut", ("A", "N"), ("C", "L")),
    "core_AC_word": ("core", ("A", "C"), ("A", "C")),
    "core_NL_word": ("core", ("N", "L"), ("N", "L")),
}
"""What is read, the cells that the probe is fitted on, and those that it is asked about."""


@dataclass(frozen=True, slots=True)
class Selectivity:
    """A probe against its control task.

    Attributes:
        accuracy: Share of right answers to the task; chance is .50.
        control: The same to the control task, over all its draws.
        selectivity: The first less the second, over the same quads.
    """

    accuracy: Estimate
    control: Estimate
    selectivity: Estimate


def measure_selectivity(
    features: Float[np.ndarray, "quad 4 d"],
    label: Int[np.ndarray, " quad"],
    foil: Int[np.ndarray, " quad"],
    control: Control,
    signs: Int[np.ndarray, "quad draw"],
    resamples: Resamples,
    folds: Int[np.ndarray, " quad"] | None = None,
    penalty: float = PENALTY,
) -> Selectivity:
    """Accuracy on a task and on draws of its control task, with the same probe.

    Args:
        features: Of each quad's cells, in the order A, N, C, L.
        label: Number of each quad's label among the classes.
        foil: Number of its foil.
        control: What is read, and what the types are.
        signs: -1 where label and foil are exchanged, 0 where the pair does not count; see
            `quad_signs` and `word_signs`.
        resamples: Of the quads.
        folds: Fold in which each quad is held out; None where the control is within quads.
        penalty: Of the ridge, for each training example.
    """
    feature, fitted, asked = _PLANS[control]
    drawn = np.concatenate([np.ones((len(signs), 1), dtype=np.int64), signs], axis=1)
    target = quad_targets(label, foil)[feature]
    scores = _scores(features, target, drawn, fitted, asked, folds, penalty)
    rows = np.arange(len(features))
    margins = scores[rows, :, :, label] - scores[rows, :, :, foil]
    label_cells = LABEL_CELLS if feature == "core" else SHORTCUT_TO_LABEL
    says = np.array([cell in label_cells for cell in asked])
    wanted = says[:, None] ^ (drawn < 0)[:, None, :]
    counted = np.broadcast_to((drawn != 0)[:, None, :], margins.shape)
    return _estimates((margins >= 0) == wanted, counted, resamples)


def quad_signs(n_quads: int, draws: int = DRAWS, seed: int = 0) -> Int[np.ndarray, "quad draw"]:
    """Whether label and foil are exchanged in each quad (-1) or not (1)."""
    return np.random.default_rng(seed).choice(np.array([-1, 1]), size=(n_quads, draws))


def word_signs(
    quads: Sequence[Quad[Any]], cells: tuple[Cell, Cell], draws: int = DRAWS, seed: int = 0
) -> Int[np.ndarray, "quad draw"]:
    """What the first word in which two cells differ is drawn to mean.

    Returns:
        1 if the first cell's word means label and the second's foil, -1 if the other way round, 0
        if both mean the same; 0 throughout for images.
    """
    words = [_differing(quad.cell(cells[0]), quad.cell(cells[1])) for quad in quads]
    names = sorted({word for pair in words for word in pair})
    meaning = np.random.default_rng(seed).choice(np.array([-1, 1]), size=(len(names), draws))
    number = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(quads), draws), dtype=np.int64)
    for i, pair in enumerate(words):
        if pair:
            found[i] = (meaning[number[pair[0]]] - meaning[number[pair[1]]]) // 2
    return found


def _differing(one: object, other: object) -> tuple[str, ...]:
    """The first words that differ; nothing for images, and for texts that do not differ."""
    if not isinstance(one, TextInput) or not isinstance(other, TextInput):
        return ()
    first, second = (
        f"{each.text} {each.hypothesis or ''}".casefold().split() for each in (one, other)
    )
    return next(((a, b) for a, b in zip(first, second, strict=False) if a != b), ())


def _scores(
    features: Float[np.ndarray, "quad 4 d"],
    target: Float[np.ndarray, "quad 4 k"],
    signs: Int[np.ndarray, "quad draw"],
    fitted: tuple[Cell, ...],
    asked: tuple[Cell, ...],
    folds: Int[np.ndarray, " quad"] | None,
    penalty: float,
) -> Float[np.ndarray, "quad cell draw k"]:
    n, _, k = target.shape
    drawn = (target[:, :, None, :] * signs[:, None, :, None]).reshape(n, len(CELLS), -1)
    everything = np.ones(n, dtype=bool)
    parts = [(everything, everything)]
    if folds is not None:
        parts = [(folds != fold, folds == fold) for fold in np.unique(folds)]
    places = [CELLS.index(cell) for cell in asked]
    found = np.empty((n, len(asked), signs.shape[1], k))
    for learns, answers in parts:
        probe = fit_probe(features[learns], drawn[learns], fitted, penalty)
        x = features[answers][:, places].reshape(-1, features.shape[-1]).astype(np.float64)
        said = np.asarray(probe.predict(x))
        found[answers] = said.reshape(-1, len(asked), signs.shape[1], k)
    return found


def _estimates(
    hits: Bool[np.ndarray, "quad cell draw"],
    counted: Bool[np.ndarray, "quad cell draw"],
    resamples: Resamples,
) -> Selectivity:
    of_task = np.zeros(hits.shape, dtype=bool)
    of_task[:, :, 0] = True
    flat, task = hits.reshape(len(hits), -1), of_task.reshape(len(hits), -1)
    drawn = (counted & ~of_task).reshape(len(hits), -1)
    missing = "no pair counts in the control task"
    return Selectivity(
        estimate_proportion(flat, resamples, where=task),
        estimate_proportion(flat, resamples, where=drawn, missing=missing),
        estimate_gap(flat, resamples, first=task, second=drawn, missing=missing),
    )
