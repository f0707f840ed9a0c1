"""Edge attribution patching: a first-order estimate of every edge at once.

1. Run the inputs that values come from, and record what every writer writes.
2. Run the inputs that are patched into, with gradients of the margin at what every reader reads.
3. The score of an edge is the change of its writer, carried to the reader by secants, times the
   gradient there:

       noise:    (clean - corrupted) . gradient in the clean run
       denoise:  (clean - corrupted) . gradient in the corrupted run

Two forwards and one backward for all edges, with a score for each pair. Norms, attention patterns
and MLPs are live: the gradient passes through them. A writer that is the same in both runs scores
exactly zero. `attention="exact_pattern"` adds one forward, and a softmax for each edge into q and k
(`circuits.discovery.patterns`). After Syed et al. 2023 (https://arxiv.org/abs/2310.10348).
"""

from typing import cast

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import EdgeRunner
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
    return runner.score(
        lambda both: runner.contract(both, cast(ReaderGradients, both.target.gradients)),
        "eap",
        gradients="target",
        settings={"attention": attention},
    )
