"""Is a circuit enough, is it needed, and is every edge of it needed?

1. Edges are ranked on some units (quads) and measured live on others; both lists are in the result.
2. Faithfulness of the k strongest edges, on the field's axis of sizes:

       f = (m(circuit) - m(corrupted)) / (m(clean) - m(corrupted))        of means of the margin

   1 = the circuit alone answers like the whole model, 0 = it answers like the corrupted run.
3. CPR is the area under f, CMD that under |1 - f|, by trapezoids over the sizes from the first to
   all edges, as MIB takes them (https://arxiv.org/abs/2504.13151); CMD 0 is best. Beside each f
   stands that of as many random edges, and that of all other edges (completeness: near 0 is good).
4. Minimality: for the smallest circuit with f >= .9, the drop of f when one edge is left out.
5. Redundancy: pairs of nodes that together matter more than the sum of each alone.

Everything is run live (`circuits.live`); `frozen=True` puts the f of runs with frozen gates beside
the curve, as a diagnostic (`circuits.frozen`). Intervals are bootstrap percentiles over units
within templates, tests flip the signs of units, and q values are Benjamini-Hochberg's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from behavior.resampling import Resamples, resample_units, split_units
from circuits.circuit import Circuit
from circuits.circuit_runs import CircuitMargins, measure_circuits
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.discovery.search import ENOUGH, PERCENTS
from circuits.faithfulness_plan import N_RANDOM, CircuitPlan
from circuits.faithfulness_result import (
    EdgeNeed,
    Faithfulness,
    Minimality,
    SizePoint,
)
from circuits.frozen import measure_frozen
from circuits.graph import Graph
from circuits.ratios import Ratios
from circuits.selection import By, Kept, pruned
from patching.models.model import PatchableModel
from patching.runs import Progress


def faithfulness(
    model: PatchableModel,
    found: EdgeScores | Circuit,
    pairs: Pairs[Input],
    *,
    by: By = "abs",
    circuit: Circuit | None = None,
    percents: Sequence[float] = PERCENTS,
    most_edges: int = 64,
    most_nodes: int = 6,
    frozen: bool = False,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    batch_size: int | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Faithfulness:
    """Measure scores at all sizes, or one circuit.

    Pairs whose units were not scored serve to measure. If all were scored, the units are split:
    edges are ranked on one half and measured on the other. A circuit, or `joint` scores, cannot be
    chosen again on a half; without other pairs the result then says that nothing was held out.

    Args:
        model: The model.
        found: Scores of all its edges, or one circuit.
        pairs: Of the same contrast.
        by: How edges are ranked.
        circuit: A circuit that is measured beside the curve.
        percents: Sizes, in percent of all edges, rising.
        most_edges: Edges that are tested for minimality, the weakest first.
        most_nodes: Strongest nodes whose pairs are tested for redundancy; 0 tests none.
        frozen: Whether each size is run with frozen gates too; never a result.
        readout: From the model's classes to labels and foils; by their names if missing.
        collapse: How the logits of several classes become one.
        batch_size: Pairs in a chunk; None fits the processor's cache.
        n_resamples: Behind every interval.
        seed: Of the halves, the resamples and the random edges.
        progress: Called with the runs that are done, and of all.

    Raises:
        DataError: If the circuit is of another model or contrast, or pairs cannot be used.
    """
    for given in (found, circuit):
        if given is not None:
            _check(model, given, pairs)
    chosen, tested, held_out = _halves(found, pairs, seed)
    rows = [i for i, unit in enumerate(pairs.units) if unit in tested]
    runner = EdgeRunner(model, pairs.take(rows), "noise", readout, collapse, batch_size)
    resamples = resample_units(runner.pairs.units, runner.pairs.templates, n_resamples, seed)
    if isinstance(found, Circuit):
        circuit, percents = found, ()
    plan = CircuitPlan(
        runner, found, circuit, frozenset(chosen), by, tuple(percents), most_nodes, seed
    )
    measured = measure_circuits(runner, plan.circuits, progress)
    ratios = Ratios(measured, resamples)
    points, margins = plan.points(ratios), plan.margins(measured)
    if frozen:
        margins["frozen"] = measure_frozen(runner, plan.sets, progress)
        points = _with_frozen(points, margins["frozen"], measured, resamples)
    n = len(plan.percents)
    areas = [ratios.areas(columns[:n], plan.percents) for columns in plan.curves]
    return Faithfulness(
        model=model.name,
        contrast=pairs.contrast,
        method=found.method,
        by=by,
        chosen_units=tuple(chosen),
        tested_units=tuple(tested),
        held_out=held_out,
        clean=ratios.clean,
        corrupted=ratios.corrupted,
        points=points[:n],
        circuit=points[n] if circuit is not None else None,
        cpr=areas[0][0],
        cmd=areas[0][1],
        random_cpr=areas[1][0],
        random_cmd=areas[1][1],
        minimality=_minimality(plan, points, resamples, most_edges, progress),
        redundancy=plan.redundancy(measured, ratios),
        settings={
            "percents": list(plan.percents),
            "n_random": N_RANDOM,
            "n_resamples": n_resamples,
            "seed": seed,
            "readout": runner.runner.readout.describe(),
            "scores": _settings(found),
        },
        margins=margins,
    )


def _with_frozen(
    points: Sequence[SizePoint],
    values: Float[Tensor, "pair size"],
    live: CircuitMargins,
    resamples: Resamples,
) -> tuple[SizePoint, ...]:
    """The points with what the same circuits answer when gates are frozen."""
    ratios = Ratios(CircuitMargins(values, live.clean, live.corrupted), resamples)
    return tuple(replace(point, frozen=ratios.share([i])) for i, point in enumerate(points))


def _minimality(
    plan: CircuitPlan,
    points: Sequence[SizePoint],
    resamples: Resamples,
    most: int,
    progress: Progress | None,
) -> Minimality:
    """The smallest faithful circuit without each of its edges, the weakest first."""
    faithful = [i for i, point in enumerate(points) if (point.faithfulness.value or 0) >= ENOUGH]
    if not faithful:
        return Minimality(None)
    names = plan.runner.graph.edges
    kept = pruned(names, plan.sets[min(faithful, key=lambda i: points[i].n_edges)])
    weakest = [i for i in plan.order.flip(0).tolist() if kept[i]][:most]
    measured = measure_circuits(plan.runner, [kept, *(_less(kept, i) for i in weakest)], progress)
    drops = (measured.values[:, :1] - measured.values[:, 1:]).double().numpy()
    tested = Ratios(measured, resamples).tested(drops, plan.runner.pairs.units)
    needs = (EdgeNeed(names[i], *found) for i, found in zip(weakest, tested, strict=True))
    return Minimality(int(kept.sum()), tuple(needs))


def _less(kept: Kept, edge: int) -> Kept:
    less = kept.clone()
    less[edge] = False
    return less


def _check(model: PatchableModel, found: EdgeScores | Circuit, pairs: Pairs[Input]) -> None:
    if found.digest and model.digest and found.digest != model.digest:
        raise DataError(
            f"The edges were found in {found.model!r}, whose weights are not those of "
            f"{model.name!r}. Use the model that they were found in."
        )
    if found.contrast != pairs.contrast:
        raise DataError(
            f"The edges were found for the {found.contrast} contrast, the pairs are of the "
            f"{pairs.contrast} contrast. Give pairs of the same."
        )
    edges = Graph.of(model).edges
    if isinstance(found, EdgeScores) and found.edges != edges:
        raise DataError(
            f"Scores of {len(found.edges)} edges do not fit {model.name!r}, which has {len(edges)}."
        )


def _halves(
    found: EdgeScores | Circuit, pairs: Pairs[Input], seed: int
) -> tuple[list[str], list[str], bool]:
    """Units on which edges are ranked, units on which they are tested, and whether these differ."""
    given = found.units if isinstance(found, EdgeScores) else found.provenance.get("units", ())
    seen = set(cast(Sequence[str], given))
    unseen = sorted(set(pairs.units) - seen)
    if unseen:
        return sorted(seen), unseen, True
    ranks = isinstance(found, EdgeScores) and found.level != "joint"
    if ranks and len(set(pairs.units)) > 1:
        first, second = split_units(pairs.units, pairs.templates, seed)
        return list(first), list(second), True
    return sorted(seen), sorted(set(pairs.units)), False


def _settings(found: EdgeScores | Circuit) -> dict[str, object]:
    if isinstance(found, EdgeScores):
        return {"direction": found.direction, **found.settings}
    return {name: value for name, value in found.provenance.items() if name != "units"}
