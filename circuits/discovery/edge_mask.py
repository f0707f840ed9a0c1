"""A learned sparse mask over all edges at once: the one method here that chooses edges together.

Every method that scores edges one at a time is misled by edges that cancel (each does much, both do
nothing) and by edges that stand in for each other. Here each edge has a gate g between 0 (it
carries the corrupted value) and 1, and all gates are learned together on the circuit run live, with
norms and attention formed anew:

    loss = mean of ((margin of the circuit - clean margin) / scale)^2
           + lambda * sum of log(1 + g / e) / log(1 + 1 / e),   e = 0.1

with scale the mean |clean - corrupted|: about lambda is what an edge must be worth. The sum counts
open gates, and is made linear at each step (Candes, Wakin and Boyd 2008,
https://arxiv.org/abs/0711.1612). All gates start open, where the circuit is the clean run, and
lambda grows from `light` to `heavy`, so that one run passes all sizes of circuits. Edges still open
where lambda passes `worth` are the circuit: their scores are 1/2 + half the mean of their gate
along the run, so what is given up last comes first. All others score below 1/2, and the lower the
steeper they ever were: what does much alone and was given up is undone by another edge, and must
not come in without it.

Each step is one of Gauss and Newton: margins are made linear in the gates, pair by pair, and the
penalised squares are minimised over a box around the gates. It starts from a gradient method: the
slopes at the first step are the scores of `eap`, in the clean run. A step that takes each gate's
own slope alone (as in edge pruning, Bhaskar et al. 2024, https://arxiv.org/abs/2406.16778) leaves
edges that cancel open, since closing either costs much; this one sees that closing both is free.

Scores are the same for all pairs, because edges were chosen for all of them together; a mask must
be tested on other pairs.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.live import LivePair, record_pair, run_shares
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.runs import Progress

_SOFTNESS = 0.1
_INNER_STEPS = 300
_CLOSED = 1e-4


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """How a mask is learned.

    Attributes:
        steps: Each takes the slopes of all pairs anew.
        n_pairs: At most so many pairs are used, spread over all.
        light: What an edge must be worth in the first step, as a squared share of the range.
        heavy: In the last; between them it grows geometrically.
        worth: What an edge of the circuit is worth.
        reach: How far a gate moves in a step at most.
    """

    steps: int = 40
    n_pairs: int = 64
    light: float = 1e-4
    heavy: float = 0.1
    worth: float = 0.002
    reach: float = 0.15

    def __post_init__(self) -> None:
        if self.steps < 1 or self.n_pairs < 1 or not 0 < self.light <= self.heavy:
            raise DataError(
                "A mask needs at least one step and one pair, and 0 < light <= heavy; got "
                f"{self.steps} steps, {self.n_pairs} pairs, {self.light} and {self.heavy}."
            )
        if not 0 < self.reach <= 1:
            raise DataError(f"reach is {self.reach}. Give a number above 0 and up to 1.")


@dataclass(frozen=True, slots=True)
class _Recorded:
    rows: list[int]
    pair: LivePair
    clean: Float[Tensor, " batch"]


def score(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EdgeScores:
    """Scores of all edges, from 0 to 1; the same for all pairs.

    Args:
        model: As in `EdgeRunner`, like all that is not named here.
        pairs: Likewise.
        direction: Kept in the result; edges that are not in the circuit are always corrupted.
        readout: Likewise.
        collapse: Likewise.
        batch_size: Pairs that are run at a time.
        progress: Called after each step.
        options: Fields of `MaskSettings`.

    Raises:
        DataError: If an option is unknown, or the runs do not differ.
    """
    settings = _settings(options)
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size or 16)
    used = pairs.take(_spread_out(len(pairs), settings.n_pairs))
    learner = EdgeRunner(
        model, used, direction, runner.runner.readout, collapse, batch_size=batch_size or 16
    )
    gates = _learn(learner, settings, progress)
    clean, corrupted = runner.margins()
    return runner.scores(
        gates.to(model.dtype).expand(len(pairs), -1).clone(),
        clean,
        corrupted,
        "edge_mask",
        level="joint",
        settings=asdict(settings),
        unit="rank",
    )


def _learn(
    runner: EdgeRunner, settings: MaskSettings, progress: Progress | None
) -> Float[Tensor, " edge"]:
    clean, corrupted = runner.margins()
    scale = float((clean - corrupted).abs().mean())
    if scale == 0:
        raise DataError(
            "Clean and corrupted runs give the same margins, so no mask can be learned."
        )
    recorded = [_record(runner, rows) for rows in runner.chunks()]
    gates = torch.ones(len(runner.graph), dtype=torch.float64)
    total, steepest = torch.zeros_like(gates), torch.zeros_like(gates)
    kept = torch.ones_like(gates, dtype=torch.bool)
    for step in range(settings.steps):
        total += gates
        if _weight(step, settings) < settings.worth or step == 0:
            kept = gates > 0
        found = [_linear(runner, batch, gates) for batch in recorded]
        missed = torch.cat([one for one, _ in found]) / scale
        slopes = torch.cat([one for _, one in found]) / scale
        steepest = torch.maximum(steepest, slopes.abs().mean(dim=0))
        worth = _weight(step, settings) / (gates + _SOFTNESS) / math.log(1 + 1 / _SOFTNESS)
        gates = (gates + _best_step(slopes, missed, gates, worth, settings.reach)).clamp(0, 1)
        gates[gates < _CLOSED] = 0
        if progress is not None:
            progress(step + 1, settings.steps)
    lasted = total / settings.steps
    quiet = 1 - steepest / steepest.max().clamp(min=torch.finfo(steepest.dtype).tiny)
    return torch.where(kept, (1 + lasted) / 2, quiet / 2)


def _linear(
    runner: EdgeRunner, batch: _Recorded, gates: Float[Tensor, " edge"]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch edge"]]:
    """What the circuit misses of each pair's clean margin, and its slope along each gate."""
    mask = runner.graph.mask
    own = gates.to(runner.model.device, runner.model.dtype)[:, None].repeat(1, len(batch.rows))
    own.requires_grad_()
    with torch.enable_grad():
        shares = own.new_zeros(*mask.shape, len(batch.rows))
        shares = shares.masked_scatter(mask[..., None].to(own.device), own)
        logits = run_shares(runner.model, runner.graph, batch.pair, shares)
        margins = runner.runner.margins(logits, batch.rows)
        (slopes,) = torch.autograd.grad(margins.sum(), own)
    return (margins.detach() - batch.clean).double().cpu(), slopes.T.double().cpu()


def _best_step(
    slopes: Float[Tensor, "pair edge"],
    missed: Float[Tensor, " pair"],
    gates: Float[Tensor, " edge"],
    worth: Float[Tensor, " edge"],
    reach: float,
) -> Float[Tensor, " edge"]:
    """Minimises mean (missed + slopes step)^2 + worth . step, with gates kept between 0 and 1.

    By L-BFGS-B; never forms a matrix of edges by edges.
    """
    matrix, offset, price = slopes.numpy(), missed.numpy(), worth.numpy()

    def cost(step: np.ndarray) -> tuple[float, np.ndarray]:
        left = offset + matrix @ step
        return float(left @ left / len(left) + price @ step), 2 / len(left) * left @ matrix + price

    low, high = (-gates).clamp(min=-reach), (1 - gates).clamp(max=reach)
    found = minimize(
        cost,
        np.zeros(len(price)),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low.tolist(), high.tolist(), strict=True)),
        options={"maxiter": _INNER_STEPS, "ftol": 1e-12, "gtol": 1e-9},
    )
    return torch.from_numpy(found.x)


def _weight(step: int, settings: MaskSettings) -> float:
    share = step / max(settings.steps - 1, 1)
    return settings.light * (settings.heavy / settings.light) ** share


def _record(runner: EdgeRunner, rows: list[int]) -> _Recorded:
    clean, corrupted = (runner.batch(rows, side) for side in (True, False))
    pair = record_pair(runner.model, runner.sites, clean, corrupted)
    margins = runner.runner.margins(runner.model.forward(clean), rows)
    return _Recorded(rows, pair, margins.detach())


def _spread_out(n: int, most: int) -> list[int]:
    return sorted({i * n // min(n, most) for i in range(min(n, most))})


def _settings(options: dict[str, Any]) -> MaskSettings:
    try:
        return MaskSettings(**options)
    except TypeError:
        known = ", ".join(MaskSettings.__dataclass_fields__)
        raise DataError(f"Unknown option among {sorted(options)}. Expected: {known}.") from None
