"""Attribution patching of nodes; every edge carries the score of its writer.

A baseline at the level of nodes: it cannot tell the edges of one writer apart. Gradients are taken
in the run that is patched into (or, with `steps`, between the two), norms are live; see
`patching.attribution`. There is no option `attention`: a node here is what a head or an MLP writes,
and its gradient sums over all attention that follows, so there is no one pattern to form anew.
"""

import torch

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from patching.attribution import attribute_nodes
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
    steps: int | None = None,
) -> EdgeScores:
    """Scores of all edges, in logits; `steps` as in `attribute_nodes`."""
    runner = EdgeRunner(model, pairs, direction, readout, collapse)
    graph = runner.graph
    effects = attribute_nodes(
        model,
        pairs,
        graph.writers,
        direction,
        steps=steps,
        batch_size=batch_size,
        readout=runner.runner.readout,
        progress=progress,
    )
    writers = graph.mask.nonzero()[:, 1]
    values = torch.index_select(effects.values, 1, writers)
    return runner.scores(
        values,
        effects.clean,
        effects.corrupted,
        "node_attribution",
        level="node",
        settings={"steps": steps},
    )
