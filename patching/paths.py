"""Path patching: the effect of what one node writes and another reads from it directly.

1. Record both runs.
2. For each sender, put its value of the source run into the target run, and hold the output of
   every other head and MLP at the target run's own value. What is left is the stream with its
   norms, which are live: in a pre-norm model the change reaches a reader's own norm as it is, in a
   post-norm one through the norms on the way, in a ResNet through ReLUs and shortcuts. Keep what
   each receiver makes of it: its q, k, v, z or mlp_out; for `logits`, the margin.
3. For each receiver, put that into the target run, and let all that follows run.

Effects have the signs of `patch_nodes`. They are the receiver's answer to this sender's change
alone, so paths need not add up to the effect of the sender. After Wang et al. 2022
(https://arxiv.org/abs/2211.00593) and Goldowsky-Dill et al. 2023
(https://arxiv.org/abs/2304.05969).
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from patching.effects import Direction
from patching.interventions import Intervention, needed_sites, patched_logits
from patching.models.attention import AttentionCall
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.rows import LayerModules
from patching.models.shortcut import Forward, replaced
from patching.path_effects import Part, PathEffects
from patching.path_plan import PathPlan, plan_paths, received_sites
from patching.runs import Chunk, PairRunner, Progress, Run
from patching.suffix import Suffix, open_suffix

_FIELDS: dict[Part, str] = {"q": "query", "k": "key", "v": "value"}


def patch_paths(
    model: PatchableModel,
    pairs: Pairs[Input],
    senders: Sequence[str],
    receivers: Sequence[str],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> PathEffects:
    """Exact effect of the direct path from each sender to each receiver, in logits.

    Args:
        model: The model; plain hooks are used whatever its backend.
        pairs: Token-aligned pairs.
        senders: Heads (`a0.h1`), all heads of a row (`a0`), MLPs (`m0`) or `input`.
        receivers: The same but `input`, or `logits`; a head or row with `<q>`, `<k>` or `<v>`
            reads through that alone (`a3.h5<q>`).
        direction: Noise or denoise.
        batch_size: As in `patch_heads`.
        readout: As in `patch_heads`.
        collapse: As in `patch_heads`.
        progress: As in `patch_heads`.

    Raises:
        DataError: If a sender does not write before a receiver reads, or into another stream;
            else as in `patch_heads`.
    """
    edges = [f"{sender}->{receiver}" for sender in senders for receiver in receivers]
    return patch_edges(
        model,
        pairs,
        edges,
        direction,
        batch_size=batch_size,
        readout=readout,
        collapse=collapse,
        progress=progress,
    )


def patch_edges(
    model: PatchableModel,
    pairs: Pairs[Input],
    edges: Sequence[str],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> PathEffects:
    """Exact effect of each of these direct paths (`a0.h1->a3.h5<q>`); else as `patch_paths`."""
    plan = plan_paths(model, edges)
    runner = PairRunner(model, pairs, direction, readout, collapse)

    def measure(chunk: Chunk) -> Float[Tensor, "column batch"]:
        return runner.stacked_margins(_Paths(model, chunk, plan).logits(), chunk.pairs)

    chunks = runner.chunks(_needed(model, plan), batch_size=batch_size, progress=progress)
    table = runner.measure(chunks, measure, len(plan))
    return PathEffects(
        values=table.values,
        edges=tuple(path.name for path in plan),
        clean=table.clean,
        corrupted=table.corrupted,
        units=pairs.units,
        templates=pairs.templates,
        steps=pairs.steps,
        contrast=pairs.contrast,
        direction=direction,
        model=model.name,
        readout=runner.readout.describe(),
    )


def _needed(model: PatchableModel, plan: Sequence[PathPlan]) -> tuple[Site, ...]:
    """What senders and receivers need, what is held, and all positions of the last row."""
    rows = model.modules.layers
    ends = [end for path in plan for end in (path.sender, path.receiver) if end is not None]
    held = {row.site("attn_out") for row in rows} | {
        row.site("mlp_out") for row in rows if row.mlp is not None
    }
    streams = {rows[end.layer].site("resid_pre") for end in ends}
    every = {rows[-1].site("resid_post")}
    return tuple(sorted(held | streams | every | set(needed_sites(model, ends))))


class _Paths:
    """The paths of one chunk.

    Args:
        model: The model.
        chunk: Both runs.
        plan: The paths.
    """

    def __init__(self, model: PatchableModel, chunk: Chunk, plan: Sequence[PathPlan]) -> None:
        self._model = model
        self._plan = plan
        self._batch = chunk.target.batch
        self._own = _with_frames(model, chunk.target)
        self._source = chunk.source.cache
        self._rows = model.modules.layers

    def logits(self) -> list[Float[Tensor, "batch n_classes"]]:
        """Logits of each path, in their order."""
        found: dict[str, Tensor] = {}
        for sender in dict.fromkeys(path.sender for path in self._plan):
            paths = [path for path in self._plan if path.sender == sender]
            direct, received = self._send(sender, paths)
            with open_suffix(self._model, self._batch, self._own) as suffix:
                for path in paths:
                    found[path.name] = (
                        direct
                        if path.receiver is None
                        else _receive(suffix, received, path.receiver, path.part)
                    )
        return [found[path.name] for path in self._plan]

    def _send(
        self, sender: Intervention, paths: Sequence[PathPlan]
    ) -> tuple[Float[Tensor, "batch n_classes"], ActivationCache]:
        """Logits, and what the receivers make of the stream, if the sender alone changes."""
        sites = {site for path in paths for site in received_sites(self._model, path)}
        with ExitStack() as stack:
            stack.enter_context(replaced(self._held(sender, sites)))
            values = stack.enter_context(self._model.hooks.reading(sorted(sites)))
            stack.enter_context(self._model.hooks.editing(self._held_after(sites)))
            suffix = stack.enter_context(
                open_suffix(self._model, self._batch, self._own, shortcut=False)
            )
            logits = patched_logits(suffix, self._source, sender)
        return logits, ActivationCache(values)

    def _held(self, sender: Intervention, sites: set[Site]) -> dict[nn.Module, Forward]:
        """Attention and MLPs that nobody asks for return what was recorded, without running."""
        forwards: dict[nn.Module, Forward] = {}
        for row in self._rows[sender.layer :]:
            if not _reads(row, sites):
                attn_out = self._own[row.site("attn_out")]
                forwards[row.attention] = _always(self._own.frames[row.attention].around(attn_out))
                if not row.o_inside:
                    forwards[row.o] = _always(attn_out)
            if row.mlp is not None and row.site("mlp_out") not in sites:
                forwards[row.mlp] = _always(self._own[row.site("mlp_out")])
        return forwards

    def _held_after(self, sites: set[Site]) -> dict[Site, Callable[[Tensor], Tensor]]:
        """The others run, and what they return is what was recorded all the same."""
        reading = {row.site("attn_out") for row in self._rows if _reads(row, sites)}
        written = reading | {site for site in sites if site.activation == "mlp_out"}
        return {site: lambda _, value=self._own[site]: value for site in written}


def _with_frames(model: PatchableModel, run: Run) -> ActivationCache:
    """What was recorded; another backend records no frames."""
    if run.cache.frames:
        return run.cache
    with model.hooks.reading((), frames=True) as recording:
        model.forward(run.batch)
    return ActivationCache({site: run.cache[site] for site in run.cache}, recording.frames)


def _reads(row: LayerModules, sites: set[Site]) -> bool:
    """Whether one of these is made by the row's heads."""
    return any(row.site(name) in sites for name in ("q", "k", "v", "z"))


def _receive(
    suffix: Suffix, received: ActivationCache, receiver: Intervention, part: Part | None
) -> Float[Tensor, "batch n_classes"]:
    """Logits if the receiver alone had read that stream."""
    if part is None:
        return patched_logits(suffix, received, receiver)
    site = suffix.model.modules.layers[receiver.layer].site(part)
    changed = received[site].transpose(1, 2)
    name, heads = _FIELDS[part], list(receiver.heads)

    def substitute(call: AttentionCall) -> AttentionCall:
        own: Tensor = getattr(call, name)
        value = own.clone()
        value[:, heads] = changed[:, heads]
        return replace(call, **{name: value})

    return suffix.with_attention(receiver.layer, substitute)


def _always(value: Any) -> Forward:
    return lambda *_args, **_kwargs: value
