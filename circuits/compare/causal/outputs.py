"""What each node writes into the stream: z W_O of a head, the output of an MLP."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Activation

_SITES: tuple[Activation, ...] = ("resid_pre", "resid_mid", "z", "attn_out", "mlp_out")


def record_nodes(model: PatchableModel, batch: Mapping[str, Tensor]) -> ActivationCache:
    """All that nodes read and write in one batch of `encoder.batch`."""
    rows = model.modules.layers
    sites = {row.site(name) for row in rows for name in _SITES if row.has(name)}
    sites |= {row.site("resid_post") for row in rows}
    with model.hooks.reading(sorted(sites), frames=True) as values:
        model.forward(batch)
    return ActivationCache(values, values.frames)


def node_output(
    model: PatchableModel, recorded: ActivationCache, node: str
) -> Float[Tensor, "batch pos d_model"]:
    """What a head or an MLP wrote, without the bias that all heads of a row share.

    Args:
        model: The model.
        recorded: By `record_nodes`.
        node: Such as `a3.h5` or `m2`.
    """
    site = model.site(node)
    if site.head is None:
        return recorded[site]
    row = model.row(site)
    shape = recorded.frames[row.attention].shape if row.is_image else None
    return row.project(recorded[site].contiguous(), row.columns(site.head), shape)
