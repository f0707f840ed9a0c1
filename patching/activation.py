"""Activation patching, exact: one effect for each pair and node.

1. Run the clean and the corrupted inputs, and record both.
2. For each node, put its value of one run into the other and re-run what follows (`suffix`).
3. Noise: a corrupted value goes into the clean run, effect = margin(clean) - margin(patched).
   Denoise: a clean value goes into the corrupted run, effect = margin(patched) - margin(corrupted).

Both are positive where the node carries the contrast, and both are in logits. The two differ where
nodes act together (Heimersheim and Nanda 2024, https://arxiv.org/abs/2404.15255): noise finds what
is necessary, denoise what is sufficient.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from patching.effects import Direction, Effects
from patching.interventions import Intervention, plan_nodes
from patching.models.model import PatchableModel
from patching.patched_runs import open_runs, recorded_sites
from patching.runs import Chunk, PairRunner, Progress

LayerPart = Literal["heads", "patterns", "values"]


def patch_heads(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """Exact effect of every attention head (its z, at all positions), in logits.

    Args:
        model: The model.
        pairs: Token-aligned pairs; see `align_pairs`.
        direction: Noise or denoise.
        batch_size: Pairs at once; None fits the processor's cache.
        readout: From classes to labels; by default the names in the pairs, matched by name.
        collapse: How several classes become one label, if there is no readout.
        progress: Called after each chunk.

    Raises:
        DataError: If pairs are not aligned, or name labels that the model does not have.
    """
    runner = PairRunner(model, pairs, direction, readout, collapse)
    return _measure(runner, plan_nodes(model, model.spec.heads), batch_size, progress)


def patch_mlps(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """Exact effect of every MLP, in logits; arguments as in `patch_heads`."""
    runner = PairRunner(model, pairs, direction, readout, collapse)
    plan = plan_nodes(model, require_mlps(model))
    return _measure(runner, plan, batch_size, progress)


def patch_nodes(
    model: PatchableModel,
    pairs: Pairs[Input],
    nodes: Sequence[str],
    direction: Direction = "noise",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """Exact effect of each of these nodes (`input`, `a3.h5`, `a3`, `m2`), patched one by one.

    Raises:
        DataError: If the model has no such node; else as in `patch_heads`.
    """
    runner = PairRunner(model, pairs, direction, readout, collapse)
    return _measure(runner, plan_nodes(model, nodes), batch_size, progress)


def patch_layers(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    what: LayerPart = "heads",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> Effects:
    """Exact effect of all heads of a row together, in logits.

    Args:
        model: The model.
        pairs: Token-aligned pairs.
        direction: Noise or denoise.
        what: `heads` moves z; `patterns` moves the attention patterns and leaves the layer's own
            values; `values` moves the values and leaves its own patterns. The two parts need not
            add up to the whole.
        batch_size: As in `patch_heads`.
        readout: As in `patch_heads`.
        collapse: As in `patch_heads`.
        progress: As in `patch_heads`.

    Raises:
        DataError: As in `patch_heads`.
    """
    runner = PairRunner(model, pairs, direction, readout, collapse)
    nodes = model.spec.rows
    if what == "heads":
        plan = plan_nodes(model, nodes)
    elif what in ("patterns", "values"):
        if model.modules.layers[0].q is None:
            raise DataError(f"{model.name!r} has no attention, so no {what}. Patch 'heads'.")
        kind = "pattern" if what == "patterns" else "values"
        plan = tuple(Intervention(name, kind, layer) for layer, name in enumerate(nodes))
    else:
        raise DataError(f"Unknown part {what!r}; expected 'heads', 'patterns' or 'values'.")
    return _measure(runner, plan, batch_size, progress, what)


def require_mlps(model: PatchableModel) -> tuple[str, ...]:
    """Names of the MLPs.

    Raises:
        DataError: If the model has none.
    """
    if not model.spec.mlps:
        raise DataError(f"{model.name!r} has no MLPs. Patch its heads.")
    return model.spec.mlps


def _measure(
    runner: PairRunner,
    plan: Sequence[Intervention],
    batch_size: int | None,
    progress: Progress | None,
    what: str = "outputs",
) -> Effects:
    model = runner.model

    def patch(chunk: Chunk) -> Float[Tensor, "column batch"]:
        with open_runs(model, chunk) as run:
            logits = [run(one, None) for one in plan]
        return runner.stacked_margins(logits, chunk.pairs)

    sites = recorded_sites(model, plan)
    chunks = runner.chunks(sites, batch_size=batch_size, progress=progress)
    nodes = [intervention.name for intervention in plan]
    return runner.effects(chunks, patch, nodes, "activation patching", what)
