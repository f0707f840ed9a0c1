"""Nested cross-validation: probes whose penalty is chosen, never on the quads they are asked about.

The fixed weak penalty (`probes.linear.PENALTY`) is the default everywhere. Nested probes answer the
question whether a finding hangs on it. For each outer fold the penalty with the most right answers
in an inner cross-validation of the other quads is taken (of equals the largest, the weakest
probe). No quad, and no template, is on both sides of an inner or an outer fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from probes.folds import assign_folds
from probes.linear import (
    ASKED,
    QUESTIONS,
    ProbeAnswers,
    Question,
    probe_quads,
    right_answers,
)

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
_CHOOSING: tuple[Question, ...] = ("core_AC", "core_NL", "shortcut")


@dataclass(frozen=True, eq=False)
class NestedAnswers:
    """Held-out margins of probes with chosen penalties.

    Attributes:
        answers: As of `probe_quads`.
        penalties: [fold] that were chosen, for each training example.
    """

    answers: ProbeAnswers
    penalties: tuple[float, ...]


def probe_quads_nested(
    features: Float[np.ndarray, "quad 4 d"],
    label: Int[np.ndarray, " quad"],
    foil: Int[np.ndarray, " quad"],
    units: Sequence[str],
    templates: Sequence[str],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> NestedAnswers:
    """Fit probes with a penalty chosen within the training quads of every fold.

    Args:
        features: Of each quad's cells, in the order A, N, C, L.
        label: Number of each quad's label among the classes.
        foil: Number of its foil.
        units: [quad] its id.
        templates: [quad] its template; empty strings if there are none.
        penalties: To choose from.
        seed: Of the folds.

    Raises:
        DataError: If there are fewer than two quads outside of a fold.
    """
    folds = assign_folds(units, templates, seed=seed)
    found = {q: np.zeros((len(features), len(ASKED[q])), dtype=np.float32) for q in QUESTIONS}
    chosen: list[float] = []
    for fold in np.unique(folds):
        outside: list[int] = np.flatnonzero(folds != fold).tolist()
        inner = assign_folds(
            [units[i] for i in outside], [templates[i] for i in outside], seed=seed
        )
        given = features[outside], label[outside], foil[outside], inner
        scores = {penalty: _score(probe_quads(*given, penalty)) for penalty in penalties}
        chosen.append(max(scores, key=lambda penalty: (scores[penalty], penalty)))
        held_out = folds == fold
        answers = probe_quads(features, label, foil, held_out.astype(np.int64), chosen[-1])
        for question in QUESTIONS:
            found[question][held_out] = answers.margins(question)[held_out]
    return NestedAnswers(ProbeAnswers(**found), tuple(chosen))


def _score(answers: ProbeAnswers) -> float:
    """Share of right answers, to within what a single answer in a thousand changes."""
    shares = [right_answers(answers.margins(q), q).mean() for q in _CHOOSING]
    return round(float(np.mean(shares)), 3)
