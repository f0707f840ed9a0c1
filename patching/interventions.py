"""What is done to a run: plans, resolved against a model before anything is run.

An `Intervention` puts values of another run into this one:

| kind | what moves |
|---|---|
| `inputs` | the embeddings of all streams |
| `stream` | the residual stream that enters a row |
| `stream out` | the residual stream that leaves a row |
| `heads` | z of some heads of a row, through their columns of W_O |
| `mlp` | the output of a row's MLP |
| `pattern` | q and k of a row, and so all its attention patterns; its own values stay |
| `values` | v of a row; its own attention patterns stay |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from behavior.errors import DataError
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Activation, Node, Site
from patching.models.rows import LayerModules
from patching.suffix import Suffix, needed_beside

Kind = Literal["inputs", "stream", "stream out", "heads", "mlp", "pattern", "values"]

_NEEDED: dict[Kind, tuple[Activation, ...]] = {
    "inputs": ("resid_pre",),
    "stream": ("resid_pre",),
    "stream out": ("resid_pre", "resid_post"),
    "heads": ("resid_pre", "z", "attn_out"),
    "mlp": ("resid_pre", "z", "attn_out", "mlp_out"),
    "pattern": ("resid_pre", "q", "k"),
    "values": ("resid_pre", "v"),
}


@dataclass(frozen=True, slots=True)
class Intervention:
    """One patch.

    Attributes:
        name: Node that it is reported under.
        kind: What moves.
        layer: Position of the row in `model.modules.layers`.
        heads: Which heads, consecutive, for the kind `heads`.
    """

    name: str
    kind: Kind
    layer: int
    heads: tuple[int, ...] = ()


def plan_nodes(model: PatchableModel, nodes: Sequence[str]) -> tuple[Intervention, ...]:
    """The patches that put other outputs into these nodes.

    Raises:
        DataError: If there are none, one stands twice, or the model has no such node.
    """
    if not nodes:
        raise DataError("There are no nodes to patch. Give at least one, such as 'a0.h0'.")
    if len(set(nodes)) != len(nodes):
        raise DataError(f"A node stands twice in {', '.join(nodes)}. Give each once.")
    return tuple(_plan_node(model, name) for name in nodes)


def needed_sites(model: PatchableModel, plan: Sequence[Intervention]) -> tuple[Site, ...]:
    """What has to be recorded of both runs."""
    rows = model.modules.layers
    found = needed_beside(model, (intervention.layer for intervention in plan))
    for intervention in plan:
        one = (rows[intervention.layer],)
        chosen = model.modules.entries if intervention.kind == "inputs" else one
        for activation in _NEEDED[intervention.kind]:
            found |= {row.site(activation) for row in chosen}
    return tuple(sorted(found))


def patched_logits(
    suffix: Suffix,
    source: ActivationCache,
    intervention: Intervention,
    where: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch n_classes"]:
    """Logits of the suffix's run with values of the source run put in.

    Args:
        suffix: The run that is patched into.
        source: Activations of the run that is patched from, aligned with it.
        intervention: What moves.
        where: Positions at which it moves; None means all. Only for streams and heads.
    """
    layer = intervention.layer
    match intervention.kind:
        case "inputs":
            return _other_inputs(suffix, source)
        case "heads":
            return suffix.from_attention(
                layer, _attention_output(suffix, source, intervention, where)
            )
        case "stream":
            return suffix.entering(layer, _stream(suffix, source, layer, "resid_pre", where))
        case "stream out":
            return suffix.leaving(layer, _stream(suffix, source, layer, "resid_post", where))
        case "mlp":
            return suffix.from_mlp(layer, source[_row(suffix, layer).site("mlp_out")])
        case "pattern":
            query, key = (_by_head(suffix, source, layer, name) for name in ("q", "k"))
            return suffix.with_attention(layer, lambda call: replace(call, query=query, key=key))
        case "values":
            value = _by_head(suffix, source, layer, "v")
            return suffix.with_attention(layer, lambda call: replace(call, value=value))


def _plan_node(model: PatchableModel, name: str) -> Intervention:
    node = Node.parse(name)
    if node.kind == "input" and not node.stack:
        return Intervention(name, "inputs", 0)
    site = model.site(name)
    row = model.row(site)
    layer = model.modules.layers.index(row)
    match node.kind:
        case "head":
            return Intervention(name, "heads", layer, (site.head or 0,))
        case "heads":
            return Intervention(name, "heads", layer, tuple(range(row.n_heads)))
        case "mlp":
            return Intervention(name, "mlp", layer)
        case _:
            return Intervention(name, "stream", layer)


def _attention_output(
    suffix: Suffix,
    source: ActivationCache,
    intervention: Intervention,
    where: Bool[Tensor, "batch pos"] | None,
) -> Float[Tensor, "batch row d_model"]:
    """Recorded output of the attention plus the change that some heads make, at `suffix.rows`."""
    layer, heads = intervention.layer, intervention.heads
    row, positions = _row(suffix, layer), suffix.rows(layer)
    chosen = slice(heads[0], heads[-1] + 1)
    change = source[row.site("z")][:, positions, chosen]
    change = change - suffix.at(layer, "z")[:, positions, chosen]
    if where is not None:
        change = change * where[:, positions, None, None]
    columns = row.columns(heads[0], heads[-1])
    shape = suffix.shape(layer) if row.is_image else None
    moved = row.project(change.flatten(start_dim=2), columns, shape)
    return moved.add_(suffix.at(layer, "attn_out")[:, positions])


def _stream(
    suffix: Suffix,
    source: ActivationCache,
    layer: int,
    activation: Activation,
    where: Bool[Tensor, "batch pos"] | None,
) -> Float[Tensor, "batch pos d_model"]:
    site = _row(suffix, layer).site(activation)
    if where is None:
        return source[site]
    return torch.where(where[:, :, None], source[site], suffix.cache[site])


def _other_inputs(suffix: Suffix, source: ActivationCache) -> Float[Tensor, "batch n_classes"]:
    """A whole forward: several streams begin at different places of it."""
    sites = [row.site("resid_pre") for row in suffix.model.modules.entries]
    if len(sites) == 1:
        return suffix.entering(0, source[sites[0]])
    edits = {site: (lambda _, value=source[site]: value) for site in sites}
    with suffix.model.hooks.editing(edits):
        return suffix.model.forward(suffix.batch)


def _by_head(suffix: Suffix, source: ActivationCache, layer: int, activation: Activation) -> Tensor:
    return source[_row(suffix, layer).site(activation)].transpose(1, 2)


def _row(suffix: Suffix, layer: int) -> LayerModules:
    return suffix.model.modules.layers[layer]
