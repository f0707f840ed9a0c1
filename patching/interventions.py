"""What is done to a run: plans, resolved against a model before anything is run.

An `Intervention` puts values of another run into this one:

| kind | what moves |
|---|---|
| `stream` | the residual stream that enters a layer |
| `heads` | z of some heads of a layer, through their columns of W_O |
| `mlp` | the output of a layer's MLP |
| `pattern` | q and k of a layer, and so all its attention patterns; its own values stay |
| `values` | v of a layer; its own attention patterns stay |
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
from patching.suffix import Suffix

Kind = Literal["stream", "heads", "mlp", "pattern", "values"]

_NEEDED: dict[Kind, tuple[Activation, ...]] = {
    "stream": ("resid_pre",),
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
        layer: Where; a stream may also enter one past the last layer.
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
    n_layers = model.spec.n_layers
    found = {
        Site(intervention.layer, activation)
        if intervention.layer < n_layers
        else Site(n_layers - 1, "resid_post")
        for intervention in plan
        for activation in _NEEDED[intervention.kind]
    }
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
        where: Positions at which it moves; None means all. Only for `stream` and `heads`.
    """
    layer = intervention.layer
    match intervention.kind:
        case "heads":
            return suffix.from_attention(
                layer, _attention_output(suffix, source, intervention, where)
            )
        case "stream":
            return suffix.from_stream(layer, _stream(suffix, source, layer, where))
        case "mlp":
            return suffix.from_mlp(layer, source[Site(layer, "mlp_out")])
        case "pattern":
            query, key = (_by_head(source, layer, name) for name in ("q", "k"))
            return suffix.with_attention(layer, lambda call: replace(call, query=query, key=key))
        case "values":
            value = _by_head(source, layer, "v")
            return suffix.with_attention(layer, lambda call: replace(call, value=value))


def _plan_node(model: PatchableModel, name: str) -> Intervention:
    node = Node.parse(name)
    site = model.site(name)
    match node.kind:
        case "head":
            return Intervention(name, "heads", site.layer, (site.head or 0,))
        case "heads":
            return Intervention(name, "heads", site.layer, tuple(range(model.spec.n_heads)))
        case "mlp":
            return Intervention(name, "mlp", site.layer)
        case _:
            return Intervention(name, "stream", 0)


def _attention_output(
    suffix: Suffix,
    source: ActivationCache,
    intervention: Intervention,
    where: Bool[Tensor, "batch pos"] | None,
) -> Float[Tensor, "batch row d_model"]:
    """Recorded output of the attention plus the change that some heads make, at `suffix.rows`."""
    layer, heads = intervention.layer, intervention.heads
    rows, chosen = suffix.rows(layer), slice(heads[0], heads[-1] + 1)
    change = source[Site(layer, "z")][:, rows, chosen] - suffix.at(layer, "z")[:, rows, chosen]
    if where is not None:
        change = change * where[:, rows, None, None]
    d_head = suffix.model.spec.d_head
    weight = suffix.model.modules.layers[layer].output_weight
    columns = weight[:, heads[0] * d_head : (heads[-1] + 1) * d_head]
    moved = change.flatten(start_dim=2) @ columns.T
    return moved.add_(suffix.at(layer, "attn_out")[:, rows])


def _stream(
    suffix: Suffix, source: ActivationCache, layer: int, where: Bool[Tensor, "batch pos"] | None
) -> Float[Tensor, "batch pos d_model"]:
    n_layers = suffix.model.spec.n_layers
    site = Site(layer, "resid_pre") if layer < n_layers else Site(n_layers - 1, "resid_post")
    if where is None:
        return source[site]
    return torch.where(where[:, :, None], source[site], suffix.cache[site])


def _by_head(source: ActivationCache, layer: int, activation: Activation) -> Tensor:
    return source[Site(layer, activation)].transpose(1, 2)
