"""As EAP, with gradients integrated along the outputs of nodes, one row at a time.

For each row of nodes (the embedding, all heads of a layer together, an MLP) its output is put at
`steps` points between its corrupted and its clean value, in a run that is otherwise the one patched
into; what is before the row feels the change through the stream alone. The gradient at every reader
is the mean over all rows and points, and the score of an edge is the whole change of its writer
times that mean. This is the convention of the public EAP-IG and MIB code. Norms are live.
steps x rows x (a forward and a backward). After Hanna et al. 2024
(https://arxiv.org/abs/2403.17806).
"""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import BothRuns, EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.discovery.steps import Rule, between, shares
from circuits.gradients import ReaderGradients
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.models.nodes import Site
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
) -> EdgeScores:
    """Scores of all edges, in logits; arguments as in `eap_ig_inputs`."""
    at = shares(steps, rule)
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size, progress)
    rows = _rows(runner)

    def points(both: BothRuns) -> Iterator[ReaderGradients]:
        plain = {site: both.target.cache[site] for site in runner.entries()}
        for row in rows:
            for share in at:
                moved = {site: between(both, site, share) for site in row}
                yield runner.gradients(both, plain | moved)

    def estimate(both: BothRuns) -> Float[Tensor, "batch edge"]:
        return runner.contract(both, ReaderGradients.mean(points(both)))

    return runner.score(estimate, "eap_ig_activations", settings={"steps": steps, "rule": rule})


def _rows(runner: EdgeRunner) -> list[tuple[Site, ...]]:
    """Sites whose values are interpolated together."""
    found = [runner.entries()]
    for row in runner.model.modules.layers:
        found.append((row.site("z"),))
        if row.mlp is not None:
            found.append((row.site("mlp_out"),))
    return found
