"""From a model and pairs to a circuit: score all edges, and keep some."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.circuit import Circuit
from circuits.circuit_runs import measure_circuits
from circuits.discovery import method_of
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.selection import By, Kept, first_of, greedy, pruned, ranking, stable, top_k
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.runs import Progress

Selection = Literal["top_k", "greedy", "stable"]

PERCENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Sizes of circuits, in percent of all edges, as the field reports them."""

ENOUGH = 0.9
"""Faithfulness that a circuit has to reach where no size is asked for."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many edges are kept; neither means the smallest on the field's axis that is faithful.

    Attributes:
        edges: How many.
        percent: Of all edges.
    """

    edges: int | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        if self.edges is not None and self.percent is not None:
            raise DataError("Give a number of edges or a percentage, not both.")
        if self.edges is not None and self.edges < 1:
            raise DataError(f"A circuit needs at least 1 edge; {self.edges} were asked for.")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise DataError(f"{self.percent} % of the edges cannot be kept. Give 0 to 100.")


def discover(
    model: PatchableModel,
    pairs: Pairs[Input],
    method: str = "eap_ig_inputs",
    direction: Direction = "noise",
    *,
    size: int | None = None,
    percent: float | None = None,
    select: Selection = "top_k",
    by: By = "abs",
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Circuit:
    """The circuit that carries the contrast of the pairs, by one algorithm.

    All pairs serve to choose it: measure its `faithfulness` on others.

    Args:
        model: The model.
        pairs: Token-aligned pairs of one contrast.
        method: A name in `circuits.discovery.METHODS`.
        direction: Noise or denoise.
        size: Edges to keep. Without `size` and `percent` the smallest circuit on the field's axis
            (1, 2, 5, 10, 20, 50, 100 % of the edges) with a faithfulness of .9 on these pairs.
        percent: Share of all edges to keep, in percent.
        select: The strongest edges (`top_k`), those grown backwards from the logits (`greedy`), or
            those of the strongest that bootstrap resamples agree on (`stable`).
        by: Ranked by size (`abs`) or sign (`signed`).
        readout: From the model's classes to labels and foils; by their names if missing.
        collapse: How the logits of several classes become one.
        batch_size: Pairs in a chunk; None fits the processor's cache.
        progress: Called while edges are scored.
        options: Of the algorithm.

    Raises:
        DataError: If a name or a number makes no sense, or pairs cannot be used.
    """
    wanted = Size(size, percent)
    score = method_of(method, options)
    scores = score(
        model,
        pairs,
        direction,
        readout=readout,
        collapse=collapse,
        batch_size=batch_size,
        progress=progress,
        **options,
    )
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size)
    return choose_circuit(scores, runner, wanted, select, by)


def choose_circuit(
    scores: EdgeScores,
    runner: EdgeRunner,
    size: Size,
    select: Selection = "top_k",
    by: By = "abs",
    **provenance: object,
) -> Circuit:
    """A circuit from scores, without dead ends.

    Args:
        scores: Of all edges.
        runner: Of the pairs on which the size is chosen, where none is given.
        size: How many edges are selected, before dead ends are taken away.
        select: As in `discover`.
        by: As in `discover`.
        provenance: What else is stored with it.

    Raises:
        DataError: If `select` is unknown, or no edge is left.
    """
    if select not in get_args(Selection):
        raise DataError(f"Unknown selection {select!r}; expected one of {get_args(Selection)}.")
    n = len(scores.edges)
    k = size.edges or (n_of(size.percent, n) if size.percent else _enough(scores, runner, by))
    kept = pruned(scores.edges, _select(scores, k, select, by))
    if not kept.any():
        raise DataError(
            f"No edge is left of the {k} that were selected, because none of them connects the "
            "input with the logits. Ask for more, or use the selection 'greedy'."
        )
    words = f"{select}, {k} of {n} edges, by {by}, dead ends pruned"
    return Circuit.choose(scores, kept, selection=words, selected=k, **provenance)


def n_of(percent: float, n: int) -> int:
    """A percentage of n edges, at least one."""
    return max(1, int(percent * n / 100))


def _select(scores: EdgeScores, k: int, select: Selection, by: By) -> Kept:
    if select == "greedy":
        return greedy(scores, k, by)
    return stable(scores, k, by) if select == "stable" else top_k(scores, k, by)


def _enough(scores: EdgeScores, runner: EdgeRunner, by: By) -> int:
    """The smallest number of edges on the axis that is faithful enough."""
    n, order = len(scores.edges), ranking(scores, by)
    sizes = sorted({n_of(percent, n) for percent in PERCENTS})
    found = measure_circuits(runner, [first_of(order, k) for k in sizes])
    corrupted = found.corrupted.double().mean()
    whole = found.clean.double().mean() - corrupted
    shares = (found.values.double().mean(dim=0) - corrupted) / whole
    faithful = torch.nonzero(shares >= ENOUGH)[:, 0].tolist()
    return sizes[faithful[0]] if faithful else n
