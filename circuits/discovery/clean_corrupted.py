"""As EAP, with the mean of the gradients in the clean and in the corrupted run.

Two forwards and two backwards; the trapezoid of integrated gradients with its two ends alone. The
same in both directions. Norms are live; with `attention="exact_pattern"` the change of a pattern is
that in each run, met by the gradient of the same run, and the two are averaged. As in Hanna et al.
2024 (https://arxiv.org/abs/2403.17806).
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import BothRuns, EdgeRunner
from circuits.discovery.patterns import Attention
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
    attention: Attention = "linear",
) -> EdgeScores:
    """Scores of all edges, in logits; arguments as in `EdgeRunner`."""
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size, progress, attention)

    def estimate(both: BothRuns) -> Float[Tensor, "batch edge"]:
        sides = (both.clean, both.corrupted)
        ends = [cast(ReaderGradients, side.gradients) for side in sides]
        patterns = [
            change
            for side, end in zip(sides, ends, strict=True)
            for change in runner.patterns(both, side, end)
        ]
        return runner.contract(both, ReaderGradients.mean(ends), patterns)

    settings = {"attention": attention}
    return runner.score(estimate, "clean_corrupted", gradients="both", settings=settings)
