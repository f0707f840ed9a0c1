"""First-order effects of nodes on one chunk of pairs: gradients, their mean, times the change."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.shortcut import can_shorten, first_token_only
from patching.runs import Chunk, PairRunner


def embedding_sites(model: PatchableModel) -> tuple[Site, ...]:
    """Where the embeddings of all streams enter."""
    return tuple(row.site("resid_pre") for row in model.modules.entries)


def integrated_gradients(
    runner: PairRunner, chunk: Chunk, sites: Sequence[Site], steps: int
) -> ActivationCache:
    """Mean gradient of each pair's margin at whole sites, at the midpoints of equal steps.

    Args:
        runner: Whose pairs they are.
        chunk: Both runs, with the embeddings of all streams.
        sites: Whole `z`, `mlp_out` or embeddings.
        steps: How many points.
    """
    totals: dict[Site, Tensor] = {}
    for step in range(steps):
        slopes = _gradients(runner, chunk, sites, (step + 0.5) / steps)
        for site, slope in slopes.items():
            totals[site] = totals[site] + slope if site in totals else slope
    return ActivationCache({site: total / steps for site, total in totals.items()})


def first_order(
    chunk: Chunk, gradients: ActivationCache, groups: Sequence[Sequence[Site]]
) -> list[Float[Tensor, "batch _pos"]]:
    """Gradient times change from the target to the source run, at each position.

    Args:
        chunk: Both runs.
        gradients: Of the margins.
        groups: Sites that count as one node; their positions are added up.
    """
    whole = {site.whole for group in groups for site in group}
    products = {site: _product(chunk, gradients, site) for site in whole}
    columns: list[Tensor] = []
    for group in groups:
        parts = [
            products[site.whole].sum(dim=2)
            if site.head is None
            else products[site.whole][:, :, site.head]
            for site in group
        ]
        columns.append(side_by_side(parts).sum(dim=1))
    return columns


def side_by_side(
    columns: Sequence[Float[Tensor, "batch _pos"]],
) -> Float[Tensor, "batch column most"]:
    """Columns that need not have as many positions, with zeros where they have none."""
    most = max(column.shape[1] for column in columns)
    return torch.stack([pad(column, (0, most - column.shape[1])) for column in columns], dim=1)


def _product(
    chunk: Chunk, gradients: ActivationCache, site: Site
) -> Float[Tensor, "batch pos head"]:
    """One number for each head; for other sites as if they had one.

    A shortened run has the first position of the last row alone; at others the gradient is zero.
    """
    source, target, slope = chunk.source.cache[site], chunk.target.cache[site], gradients[site]
    n = min(value.shape[1] for value in (source, target, slope))
    product = ((source[:, :n] - target[:, :n]) * slope[:, :n]).sum(dim=-1)
    return product if product.dim() == 3 else product[:, :, None]


def _gradients(
    runner: PairRunner, chunk: Chunk, sites: Sequence[Site], share: float
) -> dict[Site, Tensor]:
    """Gradients where the embeddings are this share of the way from the target to the source."""
    model = runner.model
    shortened = first_token_only(model) if can_shorten(model) else nullcontext()
    edits = {
        site: lambda _, start=chunk.target.cache[site], end=chunk.source.cache[site]: torch.lerp(
            start, end, share
        ).requires_grad_()
        for site in embedding_sites(model)
    }
    with (
        torch.enable_grad(),
        shortened,
        model.hooks.editing(edits),
        model.hooks.reading(sites) as values,
    ):
        margins = runner.margins(model.call(chunk.target.batch), chunk.pairs)
    slopes = torch.autograd.grad(margins.sum(), list(values.values()))
    return dict(zip(values, slopes, strict=True))
