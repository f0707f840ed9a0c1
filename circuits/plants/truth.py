"""Which wired edges matter, measured live on the plant itself, and what they carry together."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from behavior.examples import Contrast, Pairs
from circuits.discovery import exact_edges
from circuits.graph import Graph
from circuits.live import LivePair, record_pair, run_circuit
from circuits.plants.language import draw_words, exchange, seeded
from circuits.plants.scaffolds import CLASSES, Scaffold
from circuits.stream import flow_sites
from patching.models.model import PatchableModel

_POOL = 3
"""Pairs drawn for each that is kept."""


def draw_pairs(scaffold: Scaffold, contrast: Contrast, n: int, seed: int) -> Pairs[Any]:
    """Pairs whose contrast moves the model much.

    Three times as many are drawn; each is turned so that the clean input has the larger margin, and
    those with the largest differences are kept.

    Args:
        scaffold: Of the plant.
        contrast: What the pairs differ in.
        n: How many.
        seed: Of the draw.
    """
    draws = seeded(seed, contrast)
    words = draw_words(_POOL * n, draws)
    other = exchange(words, contrast, draws)
    logits = [scaffold.model.logits(scaffold.inputs(side)) for side in (words, other)]
    first, second = (side[:, 1] - side[:, 0] for side in logits)
    turned = (second > first)[:, None]
    clean, corrupted = torch.where(turned, other, words), torch.where(turned, words, other)
    kept = (first - second).abs().topk(n).indices
    return Pairs(
        contrast,
        scaffold.inputs(clean[kept]),
        scaffold.inputs(corrupted[kept]),
        (CLASSES[1],) * n,
        (CLASSES[0],) * n,
        tuple(f"{contrast}-{i}" for i in range(n)),
        ("",) * n,
        ("",) * n,
    )


@dataclass(frozen=True)
class Bench:
    """Both runs of some pairs, ready for live circuits.

    Attributes:
        model: The model.
        graph: Of it.
        pairs: The pairs.
        live: Both runs.
        clean: [pair] margins of the clean run.
        corrupted: [pair] margins of the corrupted run.
    """

    model: PatchableModel
    graph: Graph
    pairs: Pairs[Any]
    live: LivePair
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]

    @classmethod
    def of(cls, model: PatchableModel, graph: Graph, pairs: Pairs[Any]) -> "Bench":
        """Record both runs."""
        sides = [model.encoder.batch(model.encode(side)) for side in (pairs.clean, pairs.corrupted)]
        margins = [_margins(model.forward(side)) for side in sides]
        live = record_pair(model, flow_sites(model), *sides)
        return cls(model, graph, pairs, live, *margins)

    @property
    def range(self) -> float:
        """Mean difference of the margins."""
        return float((self.clean - self.corrupted).mean())

    def margins(self, kept: Bool[Tensor, " edge"]) -> Float[Tensor, " pair"]:
        """Margins of the pairs when only some edges carry them."""
        mask = self.graph.edge_mask(kept)
        return _margins(run_circuit(self.model, self.graph, self.live, mask))

    def effects(self) -> dict[str, float]:
        """What cutting each edge alone changes: mean size over pairs, as a share of the range."""
        found = exact_edges.score(self.model, self.pairs)
        sizes = (found.values.abs().mean(dim=0) / self.range).tolist()
        return dict(zip(found.edges, sizes, strict=True))

    def faithfulness(self, edges: Iterable[str]) -> float:
        """Share of the range that these edges alone carry."""
        kept = self.graph.kept(set(edges))
        return float((self.margins(kept) - self.corrupted).mean()) / self.range


def _margins(logits: Float[Tensor, "pair n_classes"]) -> Float[Tensor, " pair"]:
    return logits[:, 1] - logits[:, 0]
