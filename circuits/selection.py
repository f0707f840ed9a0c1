"""Which edges are kept: from scores to a set, as a mask over edges.

Scores are means over pairs. `by="abs"` ranks by size, `by="signed"` keeps what carries the contrast
most and leaves what works against it to the end. Ties go to the earlier edge.
"""

import heapq
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from behavior.errors import DataError
from behavior.resampling import Resamples, resample_units, sum_rows
from circuits.discovery.scores import EdgeScores
from circuits.graph import reader_node
from patching.models.nodes import Node

By = Literal["abs", "signed"]
Kept = Bool[Tensor, " edge"]

_RESAMPLES_AT_ONCE = 64


def ranking(scores: EdgeScores, by: By = "abs") -> Int[Tensor, " edge"]:
    """Positions of the edges, the first to be kept first.

    Raises:
        DataError: If `by` is neither `abs` nor `signed`.
    """
    return _order(_strength(scores.mean, by))


def top_k(scores: EdgeScores, k: int, by: By = "abs") -> Kept:
    """The k strongest edges; all of them if there are fewer.

    Raises:
        DataError: If k is negative, or `by` is unknown.
    """
    if k < 0:
        raise DataError(f"{k} edges cannot be kept. Give a whole number of at least 0.")
    return first_of(ranking(scores, by), k)


def threshold(scores: EdgeScores, least: float, by: By = "abs") -> Kept:
    """The edges whose mean score (or its size) is at least this."""
    return _strength(scores.mean, by) >= least


def greedy(scores: EdgeScores, k: int, by: By = "abs") -> Kept:
    """At most k edges, each of which leads to the logits: grown backwards from there.

    Of the edges into nodes that are in already, the strongest is taken; it brings its writer in.
    """
    strength = _strength(scores.mean, by).tolist()
    into: dict[str, list[int]] = {}
    for i, edge in enumerate(scores.edges):
        into.setdefault(reader_node(_reader(edge)), []).append(i)
    kept, seen = torch.zeros(len(scores.edges), dtype=torch.bool), {"logits"}
    queue = [(-strength[i], i) for i in into.get("logits", [])]
    heapq.heapify(queue)
    while queue and int(kept.sum()) < k:
        _, i = heapq.heappop(queue)
        kept[i] = True
        writer = _writer(scores.edges[i])
        if writer not in seen:
            seen.add(writer)
            for j in into.get(writer, []):
                heapq.heappush(queue, (-strength[j], j))
    return kept


def pruned(edges: tuple[str, ...], kept: Kept) -> Kept:
    """Without dead ends: edges whose writer sees nothing kept, or whose reader leads nowhere.

    Neither can change what the circuit answers, so its logits stay exactly the same.
    """
    kept = kept.clone()
    while True:
        chosen = [edges[i] for i in kept.nonzero()[:, 0].tolist()]
        fed = {reader_node(_reader(edge)) for edge in chosen}
        heard = {_writer(edge) for edge in chosen} | {"logits"}
        dead = [
            i
            for i in kept.nonzero()[:, 0].tolist()
            if (_writer(edges[i]) not in fed and Node.parse(_writer(edges[i])).kind != "input")
            or reader_node(_reader(edges[i])) not in heard
        ]
        if not dead:
            return kept
        kept[dead] = False


def membership(
    scores: EdgeScores,
    k: int,
    by: By = "abs",
    resamples: Resamples | None = None,
    n_resamples: int = 200,
    seed: int = 0,
) -> Float[Tensor, " edge"]:
    """Share of bootstrap resamples of the units in which each edge is among the k strongest.

    Scores that are the same for all pairs (`joint`) give 0 and 1 only: they say nothing here.

    Args:
        scores: With one row for each pair.
        k: Edges that are kept in each resample.
        by: Ranked by size or by sign.
        resamples: Shared with other statistics; drawn here if missing.
        n_resamples: How many are drawn.
        seed: Of the draws.
    """
    drawn = (
        resample_units(scores.units, scores.templates, n_resamples, seed)
        if resamples is None
        else resamples.over(scores.units)
    )
    sums = sum_rows(scores.values.double().cpu().numpy(), drawn.rows, drawn.n_units)
    sizes = np.bincount(drawn.rows, minlength=drawn.n_units)
    counts = torch.zeros(len(scores.edges), dtype=torch.float64)
    for start in range(0, len(drawn.weights), _RESAMPLES_AT_ONCE):
        weights = drawn.weights[start : start + _RESAMPLES_AT_ONCE]
        means = torch.from_numpy((weights @ sums) / (weights @ sizes)[:, None])
        for mean in means:
            counts += first_of(_order(_strength(mean, by)), k)
    return counts / len(drawn.weights)


def stable(
    scores: EdgeScores,
    k: int,
    by: By = "abs",
    frequency: float = 0.8,
    resamples: Resamples | None = None,
    n_resamples: int = 200,
    seed: int = 0,
) -> Kept:
    """Edges that are among the k strongest in at least this share of resamples."""
    return membership(scores, k, by, resamples, n_resamples, seed) >= frequency


def first_of(order: Int[Tensor, " edge"], k: int) -> Kept:
    """The first k of a ranking, as a mask."""
    kept = torch.zeros(len(order), dtype=torch.bool)
    kept[order[:k]] = True
    return kept


def _order(strength: Float[Tensor, " edge"]) -> Int[Tensor, " edge"]:
    return strength.argsort(descending=True, stable=True)


def _strength(mean: Float[Tensor, " edge"], by: By) -> Float[Tensor, " edge"]:
    if by not in get_args(By):
        raise DataError(f"Cannot rank by {by!r}; expected 'abs' or 'signed'.")
    return mean.abs() if by == "abs" else mean


def _writer(edge: str) -> str:
    return edge.partition("->")[0]


def _reader(edge: str) -> str:
    return edge.partition("->")[2]
