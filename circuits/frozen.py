"""Runs a circuit with frozen gates: a diagnostic beside the live run, never a result.

What lies between a writer and a reader (`circuits.stream`: the norm that the readers of a point
share, the norm after each addition, the ReLU after each block) is a gate that depends on the whole
stream. A live run forms it anew from the mixture of the circuit. Here it is frozen at its secant
between the clean and the corrupted run, so that a reader sees a sum over its kept edges alone:

    input of v = its corrupted input + sum over kept u -> v of T_uv (w_u - w_u corrupted)

where w_u is what u writes *in this circuit*, and T_uv the secants on the way from u to v, one after
the other, which are the same whatever edges are kept. All edges kept = the clean run and no edge
kept = the corrupted run, exactly, as live. What the readers do with what they read is live:
attention with its pattern, MLPs, the inside of residual branches, and all that follows the last
stream.

Where both agree, what the circuit leaves out did not change the scale of what it keeps, nor which
ReLUs are open. Where they differ, scores that are made of the same secants (all gradient methods)
describe another model than the one that answers; the live one counts.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from circuits.discovery.edge_runs import EdgeRunner
from circuits.graph import Graph
from circuits.live import LivePair, Mixer, record_pair, run_circuit
from circuits.secants import Secant, elementwise_secant, norm_secant
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from patching.runs import Progress

_Gate = tuple[nn.Module, Tensor, Tensor]
"""A module, and its inputs in the corrupted and in the clean run."""


def measure_frozen(
    runner: EdgeRunner, circuits: Sequence[Bool[Tensor, " edge"]], progress: Progress | None = None
) -> Float[Tensor, "pair circuit"]:
    """Margins of pairs, in logits, when only a circuit carries them and gates are frozen.

    As dear as a live run: one forward a circuit, and more where readers have different edges.

    Args:
        runner: Whose pairs they are.
        circuits: Edges that each keeps.
        progress: Called with the runs that are done, and of all.
    """
    model, graph = runner.model, runner.graph
    masks = [graph.edge_mask(kept) for kept in circuits]
    values = torch.empty(len(runner.pairs), len(masks), dtype=model.dtype)
    done = 0
    for rows in runner.chunks():
        pair = record_pair(model, runner.sites, runner.batch(rows, True), runner.batch(rows, False))
        with frozen_gates(model, graph, pair):
            for column, mask in enumerate(masks):
                logits = run_circuit(model, graph, pair, mask)
                values[rows, column] = runner.runner.margins(logits, rows).cpu()
                done += len(rows)
                if progress is not None:
                    progress(done, values.numel())
    return values


@contextmanager
def frozen_gates(
    model: PatchableModel, graph: Graph, pair: LivePair
) -> Generator[None, None, None]:
    """Within the block, circuits of this pair of runs keep their gates; see `run_circuit`."""
    with ExitStack() as stack:
        for module, corrupted, clean in _gates(model, graph, pair):
            with torch.no_grad():
                out, secant = module(corrupted), _secant(module, corrupted, clean)
            hook = _Frozen(corrupted, out, secant)
            stack.callback(module.register_forward_hook(hook).remove)
        yield


class _Frozen:
    """Stands in for what a module made of its input."""

    def __init__(self, corrupted: Tensor, out: Tensor, secant: Secant) -> None:
        self.corrupted = corrupted
        self.out = out
        self.secant = secant

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.out + self.secant(args[0] - self.corrupted)


def _secant(module: nn.Module, corrupted: Tensor, clean: Tensor) -> Secant:
    if isinstance(module, nn.LayerNorm) or "Norm" in type(module).__name__:
        return norm_secant(module, corrupted, clean)
    return elementwise_secant(module, corrupted, clean)


def _gates(model: PatchableModel, graph: Graph, pair: LivePair) -> Iterator[_Gate]:
    """All transports, those that come first first."""
    rows = model.modules.layers
    mixer = Mixer(model, graph, pair.corrupted, pair.clean)
    for i, row in enumerate(rows):
        if row.enters and i > 0:
            last = rows[i - 1]
            norm = model.modules.final_norms[last.stack]
            site = last.site("resid_post")
            yield norm, pair.corrupted[site], pair.clean[site]
        if row.is_image:
            if row.activation is not None:
                yield row.activation, _sum(mixer, i, pair.corrupted), _sum(mixer, i, pair.clean)
            continue
        inputs = [_norm_inputs(mixer.layout, row, run) for run in (pair.corrupted, pair.clean)]
        for module, first, second in zip((row.norm, row.mlp_norm), *inputs, strict=True):
            if module is not None and first is not None and second is not None:
                yield module, first, second


def _norm_inputs(
    layout: str, row: LayerModules, run: ActivationCache
) -> tuple[Tensor, Tensor | None]:
    """What the norms of a row's heads and of its MLP are given; None without an MLP."""
    before = run[row.site("resid_pre")]
    middle = before + run[row.site("attn_out")]
    if layout != "post-norm":
        return before, None if row.mlp is None else middle
    with torch.no_grad():
        return middle, None if row.mlp is None else row.norm(middle) + run[row.site("mlp_out")]


def _sum(mixer: Mixer, i: int, run: ActivationCache) -> Float[Tensor, "batch pos d_model"]:
    """What the last ReLU of a block is given."""
    row = mixer.rows[i]
    with torch.no_grad():
        beside = (row.shortcut or nn.Identity())(mixer.image(i, run[row.site("resid_pre")]))
    return rearrange(beside, "b c h w -> b (h w) c") + run[row.site("attn_out")]
