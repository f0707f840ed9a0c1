"""As EAP, with the mean of the gradients in the clean and in the corrupted run.

Two forwards and two backwards; the trapezoid of integrated gradients with its two ends alone. The
same in both directions. Norms are live. As in Hanna et al. 2024 (https://arxiv.org/abs/2403.17806).
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import BothRuns, EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.gradients import ReaderGradients
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.runs import Progress


def score(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> EdgeScores:
    """Scores of all edges, in logits; arguments as in `EdgeRunner`."""
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size, progress)

    def estimate(both: BothRuns) -> Float[Tensor, "batch edge"]:
        ends = (cast(ReaderGradients, side.gradients) for side in (both.clean, both.corrupted))
        return runner.contract(both, ReaderGradients.mean(ends))

    return runner.score(estimate, "clean_corrupted", gradients="both")
