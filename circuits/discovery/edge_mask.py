"""A learned sparse mask over all edges at once: the one method here that chooses edges together.

Every method that scores edges one at a time is misled by edges that cancel (each does much, both do
nothing) and by edges that stand in for each other. Here each edge has a gate between 0 (it carries
the corrupted value) and 1, and all gates are learned together on the circuit run live, with norms
and attention formed anew:

    loss = mean of ((margin of the circuit - clean margin) / scale)^2 + lambda * mean P(gate > 0)

with scale the mean |clean - corrupted|. Gates are hard concrete (Louizos et al. 2018,
https://arxiv.org/abs/1712.01312), as in edge pruning (Bhaskar et al. 2024,
https://arxiv.org/abs/2406.16778), with less noise; they start from the ranks that `eap_ig_inputs`
gives, and lambda grows from `light` to `heavy`, so that one run passes all sizes of circuits. The
score of an edge is the mean of P(gate > 0) along that run, between 0 and 1: what is given up last
comes first. It is the same for all pairs, because it was chosen for all of them together; a mask
must be tested on other pairs. Its gradients are those of the gates, along the whole run.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery import eap_ig_inputs
from circuits.discovery.edge_runs import EdgeRunner
from circuits.discovery.scores import EdgeScores
from circuits.live import LivePair, record_pair, run_shares
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.runs import Progress

_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """How a mask is learned.

    Attributes:
        steps: Of the optimiser.
        n_pairs: At most so many pairs are used, spread over all.
        light: Weight of sparsity in the first step.
        heavy: In the last; between them it grows geometrically.
        rate: Learning rate.
        noise: Scale of the gates' noise; 1 is the hard concrete distribution, 0 has none.
        start: Log-odds that a gate is open at first, of the last edge of the warm start.
        spread: How much more of the first one.
        seed: Of the gates' noise.
    """

    steps: int = 300
    n_pairs: int = 64
    light: float = 0.1
    heavy: float = 5.0
    rate: float = 0.05
    noise: float = 0.5
    start: float = 1.0
    spread: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.n_pairs < 1 or not 0 < self.light <= self.heavy:
            raise DataError(
                "A mask needs at least one step and one pair, and 0 < light <= heavy; got "
                f"{self.steps} steps, {self.n_pairs} pairs, {self.light} and {self.heavy}."
            )


@dataclass(frozen=True, slots=True)
class _Recorded:
    rows: list[int]
    pair: LivePair
    clean: Tensor


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
        direction: Of the warm start alone.
        readout: Likewise.
        collapse: Likewise.
        batch_size: Pairs in a step of the optimiser.
        progress: Called after each step.
        options: Fields of `MaskSettings`.

    Raises:
        DataError: If an option is unknown, or the runs do not differ.
    """
    settings = _settings(options)
    runner = EdgeRunner(model, pairs, direction, readout, collapse, batch_size or 16)
    used = pairs.take(_spread_out(len(pairs), settings.n_pairs))
    learner = EdgeRunner(model, used, direction, runner.runner.readout, batch_size=batch_size or 16)
    warm = eap_ig_inputs.score(model, used, direction, readout=runner.runner.readout)
    gates = _learn(learner, warm, settings, progress)
    clean, corrupted = runner.margins()
    return runner.scores(
        gates.to(model.dtype).expand(len(pairs), -1).clone(),
        clean,
        corrupted,
        "edge_mask",
        level="joint",
        settings=asdict(settings),
        unit="probability",
    )


def _learn(
    runner: EdgeRunner, warm: EdgeScores, settings: MaskSettings, progress: Progress | None
) -> Float[Tensor, " edge"]:
    scale = (warm.clean - warm.corrupted).abs().mean().to(runner.model.device)
    if scale == 0:
        raise DataError(
            "Clean and corrupted runs give the same margins, so no mask can be learned."
        )
    recorded = [_record(runner, rows) for rows in runner.chunks()]
    log_odds = _warm_start(warm, settings).requires_grad_()
    optimiser = torch.optim.Adam([log_odds], lr=settings.rate)
    generator = torch.Generator().manual_seed(settings.seed)
    total = torch.zeros_like(log_odds)
    for step in range(settings.steps):
        batch = recorded[step % len(recorded)]
        shares = _draw(log_odds, generator, settings.noise)
        margins = runner.runner.margins(_run(runner, batch, shares), batch.rows)
        missed = ((margins - batch.clean) / scale).square().mean()
        alive = _alive(log_odds)
        optimiser.zero_grad()
        (missed + _weight(step, settings) * alive.mean()).backward()
        optimiser.step()
        total += alive.detach()
        if progress is not None:
            progress(step + 1, settings.steps)
    return total / settings.steps


def _run(runner: EdgeRunner, batch: _Recorded, shares: Float[Tensor, " edge"]) -> Tensor:
    full = shares.new_zeros(runner.graph.mask.shape)
    placed = full.masked_scatter(runner.graph.mask, shares)
    return run_shares(runner.model, runner.graph, batch.pair, placed)


def _draw(log_odds: Tensor, generator: torch.Generator, scale: float) -> Float[Tensor, " edge"]:
    noise = torch.rand(len(log_odds), generator=generator).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((scale * torch.logit(noise) + log_odds) / _TEMPERATURE)
    return (soft * (_HIGH - _LOW) + _LOW).clamp(0, 1)


def _alive(log_odds: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    """Probability that a gate is not closed."""
    return torch.sigmoid(log_odds - _TEMPERATURE * math.log(-_LOW / _HIGH))


def _weight(step: int, settings: MaskSettings) -> float:
    share = step / max(settings.steps - 1, 1)
    return settings.light * (settings.heavy / settings.light) ** share


def _warm_start(warm: EdgeScores, settings: MaskSettings) -> Float[Tensor, " edge"]:
    ranks = warm.mean.abs().argsort().argsort()
    return settings.start + settings.spread * ranks.float() / max(len(ranks) - 1, 1)


def _record(runner: EdgeRunner, rows: list[int]) -> _Recorded:
    clean, corrupted = (runner.batch(rows, side) for side in (True, False))
    pair = record_pair(runner.model, runner.sites, clean, corrupted)
    margins = runner.runner.margins(runner.model.forward(clean), rows)
    return _Recorded(rows, pair, margins)


def _spread_out(n: int, most: int) -> list[int]:
    return sorted({i * n // min(n, most) for i in range(min(n, most))})


def _settings(options: dict[str, Any]) -> MaskSettings:
    try:
        return MaskSettings(**options)
    except TypeError:
        known = ", ".join(MaskSettings.__dataclass_fields__)
        raise DataError(f"Unknown option among {sorted(options)}. Expected: {known}.") from None
