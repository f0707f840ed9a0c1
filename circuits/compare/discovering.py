"""Finds the circuits of teacher and student: edges scored on one half, circuits run on the other.

Units (quads, or pairs) are split into halves; edges are scored on pairs of the first half and
circuits of all sizes are run live on pairs of the second, on at most `MOST_PAIRS` of each. Direct
paths are attributed on all pairs. Everything here goes through plain hooks, whatever the backend.
"""

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from behavior.examples import Contrast, Pairs
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from behavior.resampling import split_units
from circuits.compare.components import pair_dependencies
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.direct import direct_attribution
from circuits.discovery import method_of
from circuits.discovery.scores import EdgeScores
from circuits.faithfulness import faithfulness
from circuits.faithfulness_result import Faithfulness
from circuits.graph import Graph
from patching import Effects, PatchableModel
from patching.models.backends import open_backend

MOST_PAIRS = 64
"""Pairs of each contrast that score edges, and as many others that test circuits."""

FEWEST_UNITS = 4
TOO_FEW = f"fewer than {FEWEST_UNITS} quads or pairs cannot be split into halves"


@dataclass(frozen=True, eq=False)
class ContrastCircuits:
    """What was found of one model for one contrast.

    Attributes:
        direct: Direct attribution on all pairs, in logits.
        scores: Of all edges, on one half; None if there are too few units.
        measured: Of circuits of all sizes, on the other half; None likewise.
        n_tested: Pairs on which they were measured.
    """

    direct: Effects
    scores: EdgeScores | None = None
    measured: Faithfulness | None = None
    n_tested: int = 0


@dataclass(frozen=True, eq=False)
class ModelCircuits:
    """What was found of one model.

    Attributes:
        method: That scored the edges.
        edges: Names of all edges of the model.
        contrasts: By contrast.
    """

    method: str
    edges: tuple[str, ...]
    contrasts: Mapping[Contrast, ContrastCircuits]


RoleCircuits = dict[Role, ModelCircuits]


def discover_pair(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    pairs: Mapping[Contrast, Pairs[Input]],
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> RoleCircuits:
    """Circuits of teacher and student; equal models are looked at once.

    Empty without pairs, and where no discovery was asked for.
    """
    if not pairs or config.discovery == "none":
        return {}
    known: dict[int, ModelCircuits] = {}
    for role in PAIR:
        model = models[role]
        if id(model) not in known:
            with _on_hooks(model):
                found: dict[Contrast, ContrastCircuits] = {
                    contrast: steps.run(
                        f"circuits of {role}, {contrast}",
                        _depends(model, readouts[role], given, config),
                        partial(_find, model, readouts[role], given, config, progress, role),
                    )
                    for contrast, given in pairs.items()
                }
            known[id(model)] = ModelCircuits(config.discovery, Graph.of(model).edges, found)
    return {role: known[id(models[role])] for role in PAIR}


def halves(pairs: Pairs[Input], seed: int) -> tuple[Pairs[Any], Pairs[Any]] | None:
    """Pairs that choose and pairs that test, of different units; None if there are too few.

    Units come whole, in a random order, as long as their pairs fit.
    """
    if len(set(pairs.units)) < FEWEST_UNITS:
        return None
    rng = np.random.default_rng(seed)
    chosen, tested = (
        pairs.take(_some_rows(pairs.units, [half[i] for i in rng.permutation(len(half))]))
        for half in split_units(pairs.units, pairs.templates, seed)
    )
    return chosen, tested


@contextlib.contextmanager
def _on_hooks(model: PatchableModel) -> Generator[None]:
    """Circuits need sites that only plain hooks offer; the weights are the same."""
    chosen = model.backend
    model.backend = open_backend("hooks", model)
    try:
        yield
    finally:
        model.backend = chosen


def _depends(
    model: PatchableModel, readout: Readout, pairs: Pairs[Input], config: ComparisonConfig
) -> dict[str, object]:
    return pair_dependencies(model, readout, pairs, config) | {
        "discovery": config.discovery,
        "seed": config.seed,
        "number of resamples": config.n_resamples,
    }


def _some_rows(units: Sequence[str], order: Sequence[str]) -> list[int]:
    rows: dict[str, list[int]] = {unit: [] for unit in order}
    for i, unit in enumerate(units):
        if unit in rows:
            rows[unit].append(i)
    kept: list[int] = []
    for unit in order:
        if kept and len(kept) + len(rows[unit]) > MOST_PAIRS:
            break
        kept += rows[unit]
    return sorted(kept)


def _find(
    model: PatchableModel,
    readout: Readout,
    pairs: Pairs[Input],
    config: ComparisonConfig,
    progress: Progress,
    role: Role,
) -> ContrastCircuits:
    progress.stage(f"attribute direct paths: {role}, {pairs.contrast}")
    direct = direct_attribution(
        model, pairs, batch_size=config.batch_size, readout=readout, progress=progress.step
    )
    split = halves(pairs, config.seed)
    if split is None:
        return ContrastCircuits(direct)
    chosen, tested = split
    progress.stage(f"score edges: {role}, {pairs.contrast}")
    scores = method_of(config.discovery)(
        model,
        chosen,
        config.direction,
        readout=readout,
        batch_size=config.batch_size,
        progress=progress.step,
    )
    progress.stage(f"run circuits: {role}, {pairs.contrast}")
    measured = faithfulness(
        model,
        scores,
        tested,
        most_edges=0,
        most_nodes=0,
        frozen=True,
        readout=readout,
        batch_size=config.batch_size,
        n_resamples=config.n_resamples,
        seed=config.seed,
        progress=progress.step,
    )
    return ContrastCircuits(direct, scores, measured, len(tested))
