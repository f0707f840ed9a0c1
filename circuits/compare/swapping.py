"""A null run of the losses: teacher and student swapped at random, quad by quad.

If it made no difference which of the two is which, swapping their answers within quads would
change nothing but the sign of each quad's loss. So the mean loss of `N_SWAPS` such swaps shows how
large a loss the comparison would find between two models that do not differ.
"""

from collections.abc import Mapping

import numpy as np

from behavior.answers import CELL_COLUMNS
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import PAIR, Role
from circuits.compare.storage import Json, null

N_SWAPS = 2000
NO_QUADS = "the data hold no quads"


def swapped_losses(answers: Mapping[Role, RoleAnswers], seed: int) -> Json:
    """Ends of the middle 95 % of the swapped mean losses, and p, two-sided.

    `value` is the mean loss on C and N, teacher minus student, in probability of the truth.
    """
    teacher, student = (answers[role].quads for role in PAIR)
    if teacher is None or student is None:
        return null(NO_QUADS)
    gained = student.label_probabilities - teacher.label_probabilities
    losses = (gained[:, CELL_COLUMNS["C"]] - gained[:, CELL_COLUMNS["N"]]) / 2
    own = float(losses.mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(N_SWAPS, len(losses)))
    swapped = signs @ losses / len(losses)
    low, high = np.quantile(swapped, (0.025, 0.975))
    as_large = int((np.abs(swapped) >= abs(own) - 1e-12).sum())
    return {
        "value": own,
        "null_low": float(low),
        "null_high": float(high),
        "p": (1 + as_large) / (1 + N_SWAPS),
        "n_swaps": N_SWAPS,
        "n": len(losses),
    }
