"""What takes the place of a head's z when it is ablated: zero, a mean, or another input's z.

Each function here gives a `Replace`; its values have the shape of z, or broadcast to it.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from einops import einsum, rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import CELLS
from patching.models.cache import ActivationCache
from patching.models.encoders import EncodedInput
from patching.models.model import PatchableModel
from patching.models.nodes import Site

AblationKind = Literal["mean", "zero", "resample"]
Replace = Callable[[Sequence[int], ActivationCache], ActivationCache]
"""From the positions of some examples, and what their run recorded, to the values to put in."""


def replacement(
    model: PatchableModel,
    kind: AblationKind,
    rows: Sequence[EncodedInput],
    reference: Sequence[EncodedInput] | None,
    sites: Sequence[Site],
    *,
    batch_size: int | None,
    seed: int,
) -> tuple[Replace, str]:
    """What takes the place of z, and the same in words.

    Args:
        model: The model.
        kind: Zero, mean or resample.
        rows: [example] encoded.
        reference: Inputs to take values from; None for the examples themselves.
        sites: Whole z of all rows.
        batch_size: Inputs at once.
        seed: Of the resamples.

    Raises:
        DataError: If an example has no partner of its length to be resampled from.
    """
    others = rows if reference is None else reference
    if kind == "zero":
        return zeros(model, sites), "zero"
    if kind == "resample":
        lengths, known = [len(row) for row in rows], [len(row) for row in others]
        chosen = draw_partners(lengths, known, seed, same=reference is None)
        return partners(model, others, chosen, sites), f"another of {len(others):,} inputs"
    by_position = len({len(row) for row in (*rows, *others)}) == 1
    means = reference_means(model, others, sites, by_position=by_position, batch_size=batch_size)
    where = "position by position" if by_position else "over all positions"
    return means, f"mean over {len(others):,} inputs, {where}"


def zeros(model: PatchableModel, sites: Sequence[Site]) -> Replace:
    """Zero everywhere."""
    nothing = torch.zeros(1, 1, 1, 1, device=model.device, dtype=model.dtype)
    cache = ActivationCache({site: nothing.expand(1, 1, *_sizes(model, site)) for site in sites})
    return lambda _examples, _recorded: cache


def cell_means(sites: Sequence[Site]) -> Replace:
    """The mean over the four cells of each quad, which stand one after the other."""

    def replace(_examples: Sequence[int], recorded: ActivationCache) -> ActivationCache:
        n_cells = len(CELLS)
        means = {
            site: reduce(recorded[site], "(quad cell) p h d -> quad p h d", "mean", cell=n_cells)
            for site in sites
        }
        return ActivationCache(
            {
                site: repeat(mean, "quad p h d -> (quad cell) p h d", cell=n_cells)
                for site, mean in means.items()
            }
        )

    return replace


def reference_means(
    model: PatchableModel,
    rows: Sequence[EncodedInput],
    sites: Sequence[Site],
    *,
    by_position: bool,
    batch_size: int | None = None,
) -> Replace:
    """The mean over some inputs.

    Args:
        model: The model.
        rows: Encoded inputs.
        sites: Whole z of some rows.
        by_position: One mean for each position, for inputs of one length; else one over all
            positions that are no padding.
        batch_size: Inputs at once.
    """
    totals: dict[Site, Tensor] = {}
    counts = dict.fromkeys(sites, 0.0)
    for chunk in model.chunks([len(row) for row in rows], batch_size):
        batch = model.encoder.batch([rows[i] for i in chunk])
        with model.hooks.reading(sites) as values:
            model.forward(batch)
        for site, z in values.items():
            total, count = _sum(z, batch.get("attention_mask"), by_position=by_position)
            totals[site] = totals[site] + total if site in totals else total
            counts[site] += count
    cache = ActivationCache(
        {site: (totals[site] / counts[site]).to(model.device, model.dtype) for site in sites}
    )
    return lambda _examples, _recorded: cache


def partners(
    model: PatchableModel,
    rows: Sequence[EncodedInput],
    chosen: Sequence[int],
    sites: Sequence[Site],
) -> Replace:
    """What the partner of each example has.

    Args:
        model: The model.
        rows: Encoded inputs.
        chosen: For each example the position of its partner among these.
        sites: Whole z of some rows.
    """

    def replace(examples: Sequence[int], _recorded: ActivationCache) -> ActivationCache:
        batch = model.encoder.batch([rows[chosen[i]] for i in examples])
        with model.hooks.reading(sites) as values:
            model.forward(batch)
        return ActivationCache(values)

    return replace


def draw_partners(
    lengths: Sequence[int], reference: Sequence[int], seed: int, *, same: bool
) -> list[int]:
    """For each example the position of a random reference input of its length, not itself.

    Args:
        lengths: Positions of each example.
        reference: Positions of each reference input.
        seed: Of the draws.
        same: Whether the reference inputs are the examples themselves.

    Raises:
        DataError: If there is none.
    """
    generator = torch.Generator().manual_seed(seed)
    by_length: dict[int, list[int]] = {}
    for i, length in enumerate(reference):
        by_length.setdefault(length, []).append(i)
    chosen: list[int] = []
    for i, length in enumerate(lengths):
        others = [j for j in by_length.get(length, []) if not (same and i == j)]
        if not others:
            raise DataError(
                f"Example {i} has {length} positions, and no other reference input has as many, so "
                "nothing can be resampled for it. Give more reference inputs, or use kind='mean'."
            )
        chosen.append(others[int(torch.randint(len(others), (1,), generator=generator))])
    return chosen


def _sum(
    z: Float[Tensor, "batch pos head d_head"], mask: Tensor | None, *, by_position: bool
) -> tuple[Float[Tensor, "1 place head d_head"], float]:
    exact = z.detach().cpu().double()
    if by_position:
        return rearrange(exact.sum(0), "p h d -> 1 p h d"), float(len(z))
    if mask is None or mask.shape[1] != z.shape[1]:
        real = torch.ones(z.shape[:2], dtype=torch.float64)
    else:
        real = mask.cpu().double()
    total = einsum(exact, real, "b p h d, b p -> h d")
    return rearrange(total, "h d -> 1 1 h d"), float(real.sum())


def _sizes(model: PatchableModel, site: Site) -> tuple[int, int]:
    row = model.row(site)
    return row.n_heads, row.d_head
