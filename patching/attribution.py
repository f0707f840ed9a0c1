"""Attribution patching: a first-order estimate of every node's effect at once.

1. Run the inputs that values are taken from, and record every node's output.
2. Run the inputs that are patched into, with gradients of the margin at every node's output.
3. Estimate the effect of putting the one value into the other run by the gradient times the
   change, summed over positions and channels:

       noise:    effect = - (corrupted - clean) . d margin / d node, gradient in the clean run
       denoise:  effect =   (clean - corrupted) . d margin / d node, gradient in the corrupted run

Two forwards and one backward (without gradients of weights) give all nodes, for each pair. Norms
and attention are live, so the estimate is exact where the model is linear between the two runs.
After Nanda 2023 (https://www.neelnanda.io/mechanistic-interpretability/attribution-patching).
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.readout import Collapse, Readout
from patching.effects import Direction, Effects
from patching.interventions import plan_nodes
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Node, head_nodes, mlp_nodes
from patching.runs import Chunk, PairRunner, Progress


def attribute_heads(
    model: PatchableModel,
    pairs: Pairs,
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """First-order effect of every attention head, in logits; arguments as in `patch_heads`."""
    nodes = head_nodes(model.spec.n_layers, model.spec.n_heads)
    return attribute_nodes(
        model,
        pairs,
        nodes,
        direction,
        batch_size=batch_size,
        readout=readout,
        collapse=collapse,
        progress=progress,
    )


def attribute_mlps(
    model: PatchableModel,
    pairs: Pairs,
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """First-order effect of every MLP, in logits; arguments as in `patch_heads`."""
    return attribute_nodes(
        model,
        pairs,
        mlp_nodes(model.spec.n_layers),
        direction,
        batch_size=batch_size,
        readout=readout,
        collapse=collapse,
        progress=progress,
    )


def attribute_nodes(
    model: PatchableModel,
    pairs: Pairs,
    nodes: Sequence[str],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """First-order effect of each of these nodes, in logits.

    Raises:
        DataError: If the model has no such node; else as in `patch_heads`.
    """
    plan_nodes(model, nodes)
    runner = PairRunner(model, pairs, direction, readout, collapse)
    sites = [Node.parse(name).site for name in nodes]

    def estimate(chunk: Chunk) -> Float[Tensor, "column batch"]:
        gradients = cast(ActivationCache, chunk.target.gradients)
        changes = [
            ((chunk.source.cache[site] - chunk.target.cache[site]) * gradients[site])
            .flatten(start_dim=1)
            .sum(dim=1)
            for site in sites
        ]
        return chunk.target.margins + torch.stack(changes)

    whole = sorted({site.whole for site in sites})
    chunks = runner.chunks(whole, gradients=True, batch_size=batch_size, progress=progress)
    return runner.effects(chunks, estimate, nodes, "attribution patching", "outputs")
