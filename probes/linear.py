"""Weak linear probes on quads: what can be read, linearly, from activations.

Each input is one vector of features (`probes.stream`: the stream's mean over positions). Of every
quad the core feature says the label in A and N and the foil in C and L; the shortcut says the
label in A and C and the foil in N and L. Measured are

    core_AC    which of its quad's two classes the core says, within the row where the shortcut
               says the label: A is to be read as the label, C as the foil
    core_NL    the same within the other row; the shortcut is the same throughout each row, so it
               cannot help
    transfer   the probe of A and C, asked about N and L of quads that it has not seen
    shortcut   which of the two classes the shortcut says, over all four cells

Label and foil differ between quads. So a probe is a ridge regression onto the classes, one column
for each (scikit-learn underneath), and is scored on the two classes of the quad alone: score of
the label minus score of the foil, which is the *margin*. Chance is .50 whatever the number of
classes. With two classes this is one regression onto the class.

Of the columns each quad's mean is taken out: what is learned is +1/2 for the class that is said
and -1/2 for the quad's other one. With many classes this matters. In the row where the shortcut
says the label it says the right class in half of the inputs, which is far more than the chance of
guessing a class; a probe of the class itself would learn the shortcut, and answer alike to both
inputs of a pair. What is the same in both says nothing about these targets.

Probes are kept weak on purpose, because a strong reader computes a feature that the model does
not have: linear, few features, standardised, a penalty that grows with the number of examples
(`PENALTY`), no setting chosen by its result. They are fitted on some quads and asked about others
(`probes.folds`). A probe with few quads for its features finds less than there is (in simulations
an accuracy of .10 less with one quad for each feature, .05 with two, .02 with four), so fewer than
`QUADS_FOR_A_FEATURE` are refused (`too_few_quads`) and never reported as chance.

A probe says what is there, not what is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from behavior.auc import auc_estimate
from behavior.estimates import Estimate
from behavior.examples import CELLS, LABEL_CELLS, Cell
from behavior.intervals import estimate_proportion
from behavior.resampling import Resamples
from probes.folds import smallest_training

Question = Literal["core_AC", "core_NL", "transfer", "shortcut"]

QUESTIONS: tuple[Question, ...] = get_args(Question)
PENALTY = 0.01
"""Ridge penalty for each training example, in units of a feature's variance."""
AUC_RESAMPLES = 400
QUADS_FOR_A_FEATURE = 2

ASKED: dict[Question, tuple[Cell, ...]] = {
    "core_AC": ("A", "C"),
    "core_NL": ("N", "L"),
    "transfer": ("N", "L"),
    "shortcut": CELLS,
}
"""Cells that each probe is asked about, in the order of its margins."""

SHORTCUT_TO_LABEL: frozenset[Cell] = frozenset({"A", "C"})
"""Cells in which the shortcut says the label."""

_FITTED: dict[tuple[Cell, ...], tuple[Question, ...]] = {
    ("A", "C"): ("core_AC", "transfer"),
    ("N", "L"): ("core_NL",),
    CELLS: ("shortcut",),
}


@dataclass(frozen=True, eq=False)
class ProbeAnswers:
    """Held-out margins: score of the label minus score of the foil, without unit.

    Attributes:
        core_AC: Of A and C.
        core_NL: Of N and L.
        transfer: Of N and L, by the probe of A and C.
        shortcut: Of A, N, C and L.
    """

    core_AC: Float[np.ndarray, "quad 2"]
    core_NL: Float[np.ndarray, "quad 2"]
    transfer: Float[np.ndarray, "quad 2"]
    shortcut: Float[np.ndarray, "quad 4"]

    def margins(self, question: Question) -> Float[np.ndarray, "quad cell"]:
        """Margins of one question, cells as in `ASKED`."""
        return {
            "core_AC": self.core_AC,
            "core_NL": self.core_NL,
            "transfer": self.transfer,
            "shortcut": self.shortcut,
        }[question]


def probe_quads(
    features: Float[np.ndarray, "quad 4 d"],
    label: Int[np.ndarray, " quad"],
    foil: Int[np.ndarray, " quad"],
    folds: Int[np.ndarray, " quad"],
    penalty: float = PENALTY,
) -> ProbeAnswers:
    """Fit the probes of every fold, and ask them about the quads that it holds out.

    Args:
        features: Of each quad's cells, in the order A, N, C, L.
        label: Number of each quad's label among the classes.
        foil: Number of its foil.
        folds: Fold in which each quad is held out; see `assign_folds`.
        penalty: Of the ridge, for each training example.
    """
    found = {
        question: np.zeros((len(features), len(cells)), dtype=np.float32)
        for question, cells in ASKED.items()
    }
    classes = quad_targets(label, foil)
    for fold in np.unique(folds):
        held_out = folds == fold
        for fitted, questions in _FITTED.items():
            target = classes["shortcut" if questions == ("shortcut",) else "core"]
            probe = fit_probe(features[~held_out], target[~held_out], fitted, penalty)
            for question in questions:
                found[question][held_out] = ask_probe(
                    probe, features[held_out], ASKED[question], label[held_out], foil[held_out]
                )
    return ProbeAnswers(**found)


def quad_targets(
    label: Int[np.ndarray, " quad"], foil: Int[np.ndarray, " quad"]
) -> dict[str, Float[np.ndarray, "quad 4 k"]]:
    """What `core` and `shortcut` say in each cell, around the quad's mean.

    A column for each class: +1/2 for the one that is said, -1/2 for the quad's other one.
    """
    identity = np.eye(int(max(label.max(), foil.max())) + 1)
    columns = {
        "core": [label if cell in LABEL_CELLS else foil for cell in CELLS],
        "shortcut": [label if cell in SHORTCUT_TO_LABEL else foil for cell in CELLS],
    }
    middle = (identity[label] + identity[foil])[:, None] / 2
    return {name: identity[np.stack(found, axis=1)] - middle for name, found in columns.items()}


def fit_probe(
    features: Float[np.ndarray, "quad 4 d"],
    target: Float[np.ndarray, "quad 4 k"],
    cells: tuple[Cell, ...],
    penalty: float = PENALTY,
) -> Pipeline:
    """A probe of some cells of the quads, whose features it standardises."""
    places = [CELLS.index(cell) for cell in cells]
    x, y = (each[:, places].reshape(-1, each.shape[-1]) for each in (features, target))
    probe = make_pipeline(StandardScaler(), Ridge(alpha=penalty * len(x)))
    return probe.fit(x.astype(np.float64), y)


def ask_probe(
    probe: Pipeline,
    features: Float[np.ndarray, "quad 4 d"],
    cells: tuple[Cell, ...],
    label: Int[np.ndarray, " quad"],
    foil: Int[np.ndarray, " quad"],
) -> Float[np.ndarray, "quad cell"]:
    """Its score of the label minus its score of the foil, in some cells of other quads."""
    places = [CELLS.index(cell) for cell in cells]
    x = features[:, places].reshape(-1, features.shape[-1]).astype(np.float64)
    scores = np.asarray(probe.predict(x)).reshape(len(features), len(cells), -1)
    rows = np.arange(len(features))
    return (scores[rows, :, label] - scores[rows, :, foil]).astype(np.float32)


def too_few_quads(width: int, units: Sequence[str], folds: Int[np.ndarray, " quad"]) -> str | None:
    """Why probes of so many features cannot be trusted on these quads; None if they can."""
    return too_few(width, smallest_training(units, folds))


def too_few(width: int, n: int) -> str | None:
    """Why n quads are too few to learn from; None if they are not."""
    needed = QUADS_FOR_A_FEATURE * width
    if n >= needed:
        return None
    return f"too few quads for this width ({n:,} to learn from, {width:,} features need {needed:,})"


def right_answers(
    margins: Float[np.ndarray, "quad cell"], question: Question
) -> Bool[np.ndarray, "quad cell"]:
    """Whether each held-out answer is right; a margin of zero counts as the label."""
    return (margins >= 0) == _says_label(question)


def readability(
    margins: Float[np.ndarray, "quad cell"], question: Question, resamples: Resamples
) -> Estimate:
    """Share of right answers; chance is .50.

    The interval is over quads, for the probes as they were fitted. Answers to different quads
    also depend on one another through the probes, which it does not know: where one feature that
    means nothing outshines all others, it covers chance in .85 of cases and not in .95.
    """
    return estimate_proportion(right_answers(margins, question), resamples)


def readability_auc(
    margins: Float[np.ndarray, "quad cell"], question: Question, resamples: Resamples
) -> Estimate:
    """How often a margin that should be above zero is above one that should be below.

    Its variance is taken over the first `AUC_RESAMPLES` resamples.
    """
    wanted = _says_label(question)
    resamples = replace(resamples, weights=resamples.weights[:AUC_RESAMPLES])
    return auc_estimate(
        margins[:, wanted].astype(np.float64), margins[:, ~wanted].astype(np.float64), resamples
    )


def _says_label(question: Question) -> Bool[np.ndarray, " cell"]:
    label_cells = SHORTCUT_TO_LABEL if question == "shortcut" else LABEL_CELLS
    return np.array([cell in label_cells for cell in ASKED[question]])
