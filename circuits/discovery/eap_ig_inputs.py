"""As EAP, with gradients integrated along the straight way between the two inputs.

The embeddings of all streams are put at `steps` points between the corrupted and the clean ones, in
the run that is patched into (its mask, and where its classifier reads, stay); the gradient at every
reader is the mean of those at these points. Norms are live. Scores converge as steps grow, but what
they sum to over a cut is the change of the margin to first order only: readers behind the embedding
do not move on a straight line.
`steps` + 2 forwards and `steps` backwards. After Hanna et al. 2024
(https://arxiv.org/abs/2403.17806).
"""

from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import BothRuns, EdgeRunner
from circuits.discovery.patterns import Attention
from circuits.discovery.scores import EdgeScores
from circuits.discovery.steps import Rule, between, shares
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
    steps: int = 5,
    rule: Rule = "midpoint",
    attention: Attention = "linear",
) -> EdgeScores:
    """Scores of all edges, in logits.

    Args:
        model: As in `EdgeRunner`, like all that is not named here.
        pairs: Likewise.
        direction: Likewise.
        readout: Likewise.
        collapse: Likewise.
        batch_size: Likewise.
        progress: Likewise.
        steps: Points at which the gradient is taken.
        rule: Where they lie in equal steps.
        attention: As in `EdgeRunner`; an exact change of a pattern in the run that is patched into
            meets the mean of the gradients at that pattern.

    Raises:
        DataError: If there are fewer steps than one.
    """
    at = shares(steps, rule)
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size, progress, attention)

    def estimate(both: BothRuns) -> Float[Tensor, "batch edge"]:
        points = (
            runner.gradients(both, {site: between(both, site, share) for site in runner.entries()})
            for share in at
        )
        return runner.contract(both, ReaderGradients.mean(points))

    settings = {"steps": steps, "rule": rule, "attention": attention}
    return runner.score(estimate, "eap_ig_inputs", settings=settings)
