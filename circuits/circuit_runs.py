"""Margins of pairs when only a circuit carries them, live, for many circuits at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuits.discovery.edge_runs import EdgeRunner
from circuits.live import record_pair, run_circuit
from patching.runs import Progress


@dataclass(frozen=True, slots=True)
class CircuitMargins:
    """What circuits answer.

    Attributes:
        values: [pair, circuit] margins, in logits.
        clean: [pair] margins of the clean run.
        corrupted: [pair] margins of the corrupted run.
    """

    values: Float[Tensor, "pair circuit"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]


def measure_circuits(
    runner: EdgeRunner,
    circuits: Sequence[Bool[Tensor, " edge"]],
    progress: Progress | None = None,
) -> CircuitMargins:
    """Run each circuit alone on all pairs; equal ones are run once.

    Args:
        runner: Whose pairs they are.
        circuits: Edges that each keeps.
        progress: Called with the runs that are done, and of all.
    """
    model, n_pairs = runner.model, len(runner.pairs)
    distinct = {kept.numpy().tobytes(): kept for kept in circuits}
    order = list(distinct)
    columns = [order.index(kept.numpy().tobytes()) for kept in circuits]
    masks = [runner.graph.edge_mask(kept) for kept in distinct.values()]
    values = torch.empty(n_pairs, len(masks), dtype=model.dtype)
    ends = torch.empty(n_pairs, 2, dtype=model.dtype)
    total, done = n_pairs * len(masks), 0
    for rows in runner.chunks():
        batches = [runner.batch(rows, clean) for clean in (True, False)]
        pair = record_pair(model, runner.sites, *batches)
        for column, batch in enumerate(batches):
            ends[rows, column] = runner.runner.margins(model.forward(batch), rows).cpu()
        for column, mask in enumerate(masks):
            logits = run_circuit(model, runner.graph, pair, mask)
            values[rows, column] = runner.runner.margins(logits, rows).cpu()
            done += len(rows)
            if progress is not None:
                progress(done, total)
    return CircuitMargins(values[:, columns], ends[:, 0], ends[:, 1])
