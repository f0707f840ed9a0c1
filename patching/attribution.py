"""Attribution patching: a first-order estimate of every node's effect at once.

1. Run the inputs that values are taken from, and record every node's output.
2. Run the inputs that are patched into, with gradients of the margin at every node's output.
3. Estimate the effect of putting the one value into the other run by the gradient times the
   change, summed over positions and channels:

       noise:    effect = - (corrupted - clean) . d margin / d node, gradient in the clean run
       denoise:  effect =   (clean - corrupted) . d margin / d node, gradient in the corrupted run

Two forwards and one backward (without gradients of weights) give all nodes, for each pair. Norms
and attention are live, so the estimate is exact where the model is linear between the two runs.
After Nanda 2023 (https://www.neelnanda.io/mechanistic-interpretability/attribution-patching).

With `steps=m` the gradient is integrated: it is the mean of those at m points between the two
runs. Point k puts the embeddings of all streams at (k - 1/2) / m of the straight way (midpoint
rule) into the run that is patched into; its mask, and where its classifier reads, stay. m more
forwards and backwards. For `input` the estimate then sums to clean - corrupted, with an error that
falls as 1/m^2 where the model is smooth; deeper nodes have no such promise, because they do not
move on a straight line. After Hanna et al. 2024 (https://arxiv.org/abs/2403.17806), EAP-IG on
inputs.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack, cast, overload

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from patching.activation import require_mlps
from patching.effects import Direction, Effects
from patching.gradients import (
    embedding_sites,
    first_order,
    integrated_gradients,
    side_by_side,
)
from patching.interventions import plan_nodes
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Node, Site
from patching.runs import Chunk, PairRunner, Progress
from patching.token_attributions import TokenAttributions, by_token


class AttributionOptions(TypedDict, total=False):
    """What the attributing functions take by name besides `positions`; see `attribute_nodes`."""

    steps: int | None
    batch_size: int | None
    readout: Readout | None
    collapse: Collapse
    progress: Progress | None


@overload
def attribute_heads(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = ...,
    *,
    positions: Literal[False] = ...,
    **options: Unpack[AttributionOptions],
) -> Effects: ...


@overload
def attribute_heads(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = ...,
    *,
    positions: Literal[True],
    **options: Unpack[AttributionOptions],
) -> TokenAttributions: ...


def attribute_heads(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    steps: int | None = None,
    positions: bool = False,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects | TokenAttributions:
    """First-order effect of every attention head, in logits; arguments as in `attribute_nodes`."""
    return _attribute(
        PairRunner(model, pairs, direction, readout, collapse),
        model.spec.heads,
        steps,
        positions,
        batch_size,
        progress,
    )


@overload
def attribute_mlps(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = ...,
    *,
    positions: Literal[False] = ...,
    **options: Unpack[AttributionOptions],
) -> Effects: ...


@overload
def attribute_mlps(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = ...,
    *,
    positions: Literal[True],
    **options: Unpack[AttributionOptions],
) -> TokenAttributions: ...


def attribute_mlps(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    steps: int | None = None,
    positions: bool = False,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects | TokenAttributions:
    """First-order effect of every MLP, in logits; arguments as in `attribute_nodes`."""
    return _attribute(
        PairRunner(model, pairs, direction, readout, collapse),
        require_mlps(model),
        steps,
        positions,
        batch_size,
        progress,
    )


@overload
def attribute_nodes(
    model: PatchableModel,
    pairs: Pairs[Input],
    nodes: Sequence[str],
    direction: Direction = ...,
    *,
    positions: Literal[False] = ...,
    **options: Unpack[AttributionOptions],
) -> Effects: ...


@overload
def attribute_nodes(
    model: PatchableModel,
    pairs: Pairs[Input],
    nodes: Sequence[str],
    direction: Direction = ...,
    *,
    positions: Literal[True],
    **options: Unpack[AttributionOptions],
) -> TokenAttributions: ...


def attribute_nodes(
    model: PatchableModel,
    pairs: Pairs[Input],
    nodes: Sequence[str],
    direction: Direction = "noise",
    *,
    steps: int | None = None,
    positions: bool = False,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects | TokenAttributions:
    """First-order effect of each of these nodes, in logits.

    Args:
        model: The model.
        pairs: Token-aligned pairs.
        nodes: As in `patch_nodes`.
        direction: Noise or denoise.
        steps: Points at which the gradient is taken between the two runs; None takes it once, in
            the run that is patched into.
        positions: Whether to keep the effects at single positions, which sum to those of nodes.
        batch_size: As in `patch_heads`.
        readout: As in `patch_heads`.
        collapse: As in `patch_heads`.
        progress: As in `patch_heads`.

    Raises:
        DataError: If the model has no such node, or there are fewer steps than one; else as in
            `patch_heads`.
    """
    runner = PairRunner(model, pairs, direction, readout, collapse)
    return _attribute(runner, nodes, steps, positions, batch_size, progress)


def _attribute(
    runner: PairRunner,
    nodes: Sequence[str],
    steps: int | None,
    positions: bool,
    batch_size: int | None,
    progress: Progress | None,
) -> Effects | TokenAttributions:
    plan_nodes(runner.model, nodes)
    if steps is not None and steps < 1:
        raise DataError(f"Integrated gradients need at least 1 step; got {steps}.")
    groups = [_sites(runner.model, name, positions) for name in nodes]
    whole = {site.whole for group in groups for site in group}
    parts: list[tuple[list[int], Tensor]] = []

    def estimate(chunk: Chunk) -> Float[Tensor, "column batch"]:
        gradients = (
            cast(ActivationCache, chunk.target.gradients)
            if steps is None
            else integrated_gradients(runner, chunk, sorted(whole), steps)
        )
        columns = first_order(chunk, gradients, groups)
        if positions:
            parts.append((chunk.pairs, side_by_side(columns).cpu()))
        return chunk.target.margins + torch.stack([column.sum(dim=1) for column in columns])

    needed = whole if steps is None else whole.union(embedding_sites(runner.model))
    chunks = runner.chunks(
        sorted(needed), gradients=steps is None, batch_size=batch_size, progress=progress
    )
    method = "attribution patching" if steps is None else f"integrated gradients, {steps} steps"
    effects = runner.effects(chunks, estimate, nodes, method, "outputs")
    return by_token(effects, parts, _tokens(runner)) if positions else effects


def _sites(model: PatchableModel, name: str, positions: bool) -> tuple[Site, ...]:
    """Where a node's output is; all inputs together where there are several streams."""
    node = Node.parse(name)
    if node.kind != "input" or node.stack:
        return (model.site(name),)
    if positions and len(model.spec.inputs) > 1:
        raise DataError(
            f"The positions of {name!r} are those of several streams. Give "
            f"{' and '.join(model.spec.inputs)} instead."
        )
    return embedding_sites(model)


def _tokens(runner: PairRunner) -> tuple[tuple[str, ...], ...]:
    """Tokens of each pair, clean/corrupted where they differ; none for images."""
    model, pairs = runner.model, runner.pairs
    if model.spec.modality == "image":
        return ((),) * len(pairs)
    clean, corrupted = (
        [model.tokenizer.convert_ids_to_tokens(ids) for ids in model.tokens(inputs)]
        for inputs in (pairs.clean, pairs.corrupted)
    )
    return tuple(
        tuple(a if a == b else f"{a}/{b}" for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(clean, corrupted, strict=True)
    )
