"""Head patching as everybody writes it: one full forward for each head.

Three loops over the same model and pairs: plain torch hooks, nnsight's recipe (one trace for each
head) and TransformerLens' own `get_act_patch_attn_head_out_all_pos`.
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from behavior.examples import Pairs
from behavior.inputs import Input
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from patching.runs import PairRunner

Loop = Callable[[], object]


def plain_loop(
    model: PatchableModel, pairs: Pairs[Input], batch_size: int, patch: bool = True
) -> Tensor:
    """Effects from one full forward per head, after one each to record both runs.

    Args:
        model: The model.
        pairs: Aligned pairs.
        batch_size: Pairs at once.
        patch: Whether to go on after the recording.

    Returns:
        Effects: [pair, row, head], in logits.
    """
    runner, rows = PairRunner(model, pairs, "noise"), model.modules.layers
    effects = torch.zeros(len(pairs), len(rows), model.spec.n_heads)
    for chunk in model.chunks(runner.lengths, batch_size):
        clean, corrupted = _batches(model, pairs, chunk)
        with model.hooks.reading(model.sites(["z"])) as recorded:
            model.forward(corrupted)
        before = runner.margins(model.forward(clean), chunk)
        for i, row in enumerate(rows if patch else ()):
            for head in range(row.n_heads):
                logits = _forward_with_head(model, clean, row, head, recorded[row.site("z")])
                effects[chunk, i, head] = before - runner.margins(logits, chunk)
    return effects


def nnsight_loop(model: PatchableModel, pairs: Pairs[Input]) -> Loop:
    """One trace per head, all pairs in one batch."""
    from patching.models.backends import open_backend  # noqa: PLC0415  (imports nnsight)

    backend = open_backend("nnsight", model)
    clean, corrupted = _batches(model, pairs, list(range(len(pairs))))
    sites = model.sites(["z"])

    def run() -> None:
        _, source = backend.read(corrupted, sites)
        _, target = backend.read(clean, sites)
        for row in model.modules.layers:
            site = row.site("z")
            for head in range(row.n_heads):
                value = target[site].clone()
                value[:, :, head] = source[site][:, :, head]
                backend.patched(clean, {site: value})

    return run


def lens_loop(model: PatchableModel, pairs: Pairs[Input]) -> Loop:
    """TransformerLens' function, which takes token ids (or pixels) and no masks."""
    from transformer_lens.patching import (  # noqa: PLC0415  (slow)
        get_act_patch_attn_head_out_all_pos,
    )

    bridge = model.bridge
    clean, corrupted = (next(iter(batch.values())) for batch in _batches(model, pairs, None))

    def run() -> None:
        with torch.no_grad():
            _, cache = bridge.run_with_cache(corrupted)
            get_act_patch_attn_head_out_all_pos(
                bridge, clean, cache, lambda logits: logits[:, 0].mean()
            )

    return run


def _batches(
    model: PatchableModel, pairs: Pairs[Input], chunk: list[int] | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    chosen = range(len(pairs)) if chunk is None else chunk
    clean, corrupted = (
        model.encoder.batch(model.encode([inputs[i] for i in chosen]))
        for inputs in (pairs.clean, pairs.corrupted)
    )
    return clean, corrupted


def _forward_with_head(
    model: PatchableModel, batch: dict[str, Tensor], row: LayerModules, head: int, z: Tensor
) -> Tensor:
    columns, value = row.columns(head), z[:, :, head]

    def set_head(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        patched = args[0].clone()
        if row.is_image:
            patched[:, columns] = rearrange(value, "b (h w) c -> b c h w", h=patched.shape[2])
        else:
            patched[..., columns] = value
        return (patched,)

    hook = row.o.register_forward_pre_hook(set_head)
    try:
        return model.forward(batch)
    finally:
        hook.remove()
