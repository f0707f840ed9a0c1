"""Direct attribution: the change of the margin over a contrast as an exact sum over writers.

Over A -> C -> L and A -> N -> L the change of the margin is what the writers put into the last
stream, carried to the margin by secants; nothing remains. It shows direct paths only: in BERT what
is written at the first token. A node that works through others has nothing here, so no node may be
called unimportant from it.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.examples import Pairs
from behavior.readout import Collapse, Readout
from circuits.classifier import margin_changes
from circuits.graph import Graph
from circuits.stream import TwoRuns, carry, fitting_pairs, flow_sites
from patching.effects import Effects
from patching.models.model import PatchableModel
from patching.runs import Chunk, PairRunner, Progress

METHOD = "direct attribution"
_MOST_PAIRS = 64


def direct_attribution(
    model: PatchableModel,
    pairs: Pairs[Any],
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """What each writer's change moves the margin by directly, in logits.

    The values of a pair add up to its clean margin minus its corrupted margin. Positive where the
    writer carries the contrast; the same in both directions.

    Args:
        model: The model.
        pairs: Aligned pairs.
        batch_size: Pairs at once; None bounds the memory of the changes.
        readout: From classes to labels; by default the names in the pairs, matched by name.
        collapse: How several classes become one label, if there is no readout.
        progress: Called after each batch.
    """
    graph = Graph.of(model)
    runner = PairRunner(model, pairs, "noise", readout, collapse)
    last = model.modules.layers[-1].site("resid_post")
    seen = list(graph.points[-1].writers)

    def measure(chunk: Chunk) -> Float[Tensor, "column batch"]:
        runs = TwoRuns(chunk.source.cache, chunk.target.cache)
        *_, arrival = carry(model, graph, runs)
        labels, foils = runner.label_index(chunk.pairs)
        moved = margin_changes(
            model,
            chunk.target.batch,
            runs.both(last),
            arrival.changes,
            runner.readout,
            labels,
            foils,
        )
        columns = moved.new_zeros(len(graph.writers), len(chunk.pairs))
        columns[seen] = moved
        return chunk.target.margins - columns

    fitting = fitting_pairs(model, graph, max(runner.lengths))
    size = batch_size or min(_MOST_PAIRS, fitting)
    with torch.no_grad():
        chunks = runner.chunks(flow_sites(model), batch_size=size, progress=progress)
        return runner.effects(chunks, measure, graph.writers, METHOD, "outputs")
