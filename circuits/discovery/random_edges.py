"""Scores drawn at random: what any algorithm has to beat.

Each edge has one score for all pairs, uniform between 0 and 1, from a seed. No gradients are taken.
"""

import torch

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
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
    seed: int = 0,
) -> EdgeScores:
    """Random scores of all edges; arguments as in `EdgeRunner`, and the seed."""
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size, progress)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(len(runner.graph), generator=generator, dtype=model.dtype)
    clean, corrupted = runner.margins()
    return runner.scores(
        drawn.expand(len(pairs), -1).clone(),
        clean,
        corrupted,
        "random",
        level="joint",
        settings={"seed": seed},
        unit="none",
    )
