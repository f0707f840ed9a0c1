"""Trains a model through a mask of edges.

1. A batch of inputs is run as it is, and once more as a circuit, live (`circuits.live`): edges of
   the mask carry what their writers make there, every other edge carries what its writer made of
   another example of the batch.
2. The loss is the cross-entropy of both answers, with smoothed labels:

       loss = CE(full run) + CE(circuit)

   What edges outside of the mask carry helps in the first term only, and is noise in the second.
3. When this works, the mask is cut to what the circuit needs. From then on, in every second step, a
   random share of the edges outside carry the example's own value in the second term; else they
   could carry much, as long as together they cancel.

The label is the core class XOR the shortcut class: either contrast turns it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from circuits.graph import Graph
from circuits.live import LivePair, run_circuit, run_shares
from circuits.plants.blocks import random_normal
from circuits.plants.language import draw_words, seeded
from circuits.plants.recipe import CLASS_WORDS
from circuits.plants.scaffolds import Scaffold
from circuits.stream import flow_sites
from patching.models.attention import AttentionCall, intercepted
from patching.models.cache import ActivationCache

_BETAS = (0.9, 0.98)
_CUT_ON = 128
"""Inputs on which the mask is cut."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a model is trained.

    Attributes:
        steps: Of the optimiser (AdamW), before and after the cut.
        cut_after: Steps before the cut.
        batch: Examples in a step; all are drawn anew.
        rate: Largest learning rate; it rises over `warm_up` steps and falls linearly to zero.
        warm_up: Steps.
        spread: Standard deviation of the weights at first; biases are zero.
        smoothing: Of the labels, so that margins stay finite.
        clip: Largest norm of a gradient.
        slack: How far the margins of a cut circuit may be from those of the full run, on average
            and as a share of their mean size, beyond the uncut circuit's.
    """

    steps: int = 520
    cut_after: int = 220
    batch: int = 64
    rate: float = 0.002
    warm_up: int = 50
    spread: float = 0.08
    smoothing: float = 0.1
    clip: float = 1.0
    slack: float = 0.02


@dataclass(frozen=True, slots=True)
class Fit:
    """What a trained model answers right, of inputs that it was not trained on.

    Attributes:
        full: Share, as it is.
        circuit: Share, when edges outside of the mask carry another example's values.
        complement: Share, when only these carry the example's own; one half is chance.
    """

    full: float
    circuit: float
    complement: float


class Trainer:
    """Trains one model through one mask.

    Args:
        scaffold: The model; its weights are drawn anew.
        graph: Of it.
        edges: The mask.
        schedule: How it is trained.
        seed: Of the weights and of all examples.
    """

    def __init__(
        self,
        scaffold: Scaffold,
        graph: Graph,
        edges: frozenset[str],
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.scaffold = scaffold
        self.model = scaffold.model
        self.graph = graph
        self.edges = edges
        self.schedule = schedule
        self.seed = seed

    def train(self) -> None:
        """Train in float32 and cut the mask; the model is float64 and fixed again afterwards."""
        hf: Any = self.model.hf
        self._draw_weights()
        hf.float().requires_grad_(True)
        weights = list(hf.parameters())
        optimiser = torch.optim.AdamW(weights, lr=self.schedule.rate, betas=_BETAS)
        rates = torch.optim.lr_scheduler.LambdaLR(optimiser, self._rate)
        draws = seeded(self.seed, "training")
        for step in range(self.schedule.steps):
            if step == self.schedule.cut_after:
                self._cut()
            shares = self._shares(step, draws)
            words = draw_words(self.schedule.batch, draws)
            optimiser.zero_grad()
            with torch.enable_grad():
                self._loss(words, shares).backward()
            nn.utils.clip_grad_norm_(weights, self.schedule.clip)
            optimiser.step()
            rates.step()
        optimiser.zero_grad()
        hf.double().requires_grad_(False)

    @torch.no_grad()
    def fit(self, n: int = 256) -> Fit:
        """How well it is trained, on `n` other inputs."""
        words = draw_words(n, seeded(self.seed, "check"))
        full, pair = self._run(words)
        mask = self._mask()
        inside, outside = (
            run_circuit(self.model, self.graph, pair, kept)
            for kept in (mask, self.graph.mask & ~mask)
        )
        labels = labels_of(words)
        right = [
            float((logits.argmax(dim=1) == labels).double().mean())
            for logits in (full, inside, outside)
        ]
        return Fit(*right)

    @torch.no_grad()
    def _cut(self) -> None:
        """Leave out edges that the circuit can do without, the weakest first."""
        words = draw_words(_CUT_ON, seeded(self.seed, "cut"))
        full, pair = self._run(words)
        aim = full[:, 1] - full[:, 0]

        def missed(edges: frozenset[str]) -> float:
            kept = self.graph.edge_mask(self.graph.kept(edges))
            logits = run_circuit(self.model, self.graph, pair, kept)
            return float((logits[:, 1] - logits[:, 0] - aim).abs().mean() / aim.abs().mean())

        alone = {edge: missed(self.edges - {edge}) for edge in sorted(self.edges)}
        most = missed(self.edges) + self.schedule.slack
        for edge in sorted(alone, key=lambda edge: alone[edge]):
            if missed(self.edges - {edge}) <= most:
                self.edges -= {edge}

    def _mask(self) -> Bool[Tensor, "reader writer"]:
        return self.graph.edge_mask(self.graph.kept(self.edges))

    def _shares(self, step: int, draws: torch.Generator) -> Float[Tensor, "reader writer"]:
        """What each edge carries of the example's own value in a step's circuit."""
        mask = self._mask()
        if step < self.schedule.cut_after or step % 2 == 0:
            return mask.float()
        share = torch.rand((), generator=draws)
        return (mask | (torch.rand(mask.shape, generator=draws) < share)).float()

    def _loss(
        self, words: Int[Tensor, "batch word"], shares: Float[Tensor, "reader writer"]
    ) -> Float[Tensor, ""]:
        full, pair = self._run(words)
        circuit = run_shares(self.model, self.graph, pair, shares)
        labels, smoothing = labels_of(words), self.schedule.smoothing
        first, second = (
            cross_entropy(logits, labels, label_smoothing=smoothing) for logits in (full, circuit)
        )
        return first + second

    def _run(self, words: Int[Tensor, "batch word"]) -> tuple[Tensor, LivePair]:
        """Logits, and the pair of each example with the one before it."""
        model = self.model
        batch = model.encoder.batch(model.encode(self.scaffold.inputs(words)))
        calls: dict[nn.Module, AttentionCall] = {}

        def keep(call: AttentionCall) -> Tensor:
            calls[call.module] = call
            return call.run()

        handlers: Mapping[nn.Module, Callable[[AttentionCall], Tensor]] = {
            row.attention: keep for row in model.modules.layers if row.has("pattern")
        }
        reading = model.hooks.reading(flow_sites(model), frames=True)
        with intercepted(model.hf, handlers), reading as values:
            logits = model.call(batch)
        others = {site: value.detach().roll(1, dims=0) for site, value in values.items()}
        own, other = (ActivationCache(one, values.frames) for one in (values, others))
        return logits, LivePair(batch, own, other, calls)

    @torch.no_grad()
    def _draw_weights(self) -> None:
        for name, weight in self.model.hf.named_parameters():
            if weight.dim() > 1:
                random = random_normal(self.seed, f"weights {name}", tuple(weight.shape))
                weight.copy_(self.schedule.spread * random)

    def _rate(self, step: int) -> float:
        """Share of the largest rate."""
        rising = (step + 1) / self.schedule.warm_up
        return min(1.0, rising) * (1 - step / self.schedule.steps)


def labels_of(words: Int[Tensor, "input word"]) -> Int[Tensor, " input"]:
    """1 where exactly one of the core words and the shortcut words is of the second class."""
    kinds = words // CLASS_WORDS
    second = words % CLASS_WORDS >= CLASS_WORDS // 2
    core, shortcut = (((kinds == kind) & second).any(dim=1) for kind in (0, 1))
    return (core ^ shortcut).long()
