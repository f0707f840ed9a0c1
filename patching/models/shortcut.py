"""Leaves out what cannot matter: replaced modules, and the last layer for the first token only.

A classifier that reads the first token needs one query of the last layer. The attention of that
query sees all tokens, but their keys and values need not be formed: with k_s = W_K x_s + b_K and
v_s = W_V x_s + b_V, for each head,

    q . k_s = (W_K^T q) . x_s + q . b_K, where the last term is the same for all s and drops out,
    sum_s p_s v_s = W_V (sum_s p_s x_s) + b_V, because the probabilities p_s sum to one.

So the model's own attention function is called with W_K^T q of all heads as queries, and with the
stream x as keys and values; in a pre-norm layer x is the stream after its norm. Everything else of
the layer is the model's own forward on one row.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from patching.models.architecture import Layout
from patching.models.attention import AttentionCall, AttentionHandler, intercepted
from patching.models.model import PatchableModel
from patching.models.projections import weight_of
from patching.models.rows import LayerModules

Forward = Callable[..., Tensor]


@contextmanager
def replaced(forwards: Mapping[nn.Module, Forward]) -> Generator[None, None, None]:
    """Stand in for the forward of some modules; hooks of the modules still run."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, forward in before.items():
            module.__dict__.pop("forward")
            if forward is not None:
                module.__dict__["forward"] = forward


def can_shorten(model: PatchableModel) -> bool:
    """Whether the last layer of this model may run for the first token only."""
    last, declared = model.modules.layers[-1], model.architecture
    linear = isinstance(last.k, nn.Linear) and isinstance(last.v, nn.Linear)
    return linear and declared.reads == "first token" and last.enter is last.leave


@contextmanager
def first_token_only(model: PatchableModel) -> Generator[None, None, None]:
    """Run the last layer of this model for the first token only."""
    forwards, handlers = shorten_last_layer(model)
    with replaced(forwards), intercepted(model.hf, handlers):
        yield


def shorten_last_layer(
    model: PatchableModel,
) -> tuple[dict[nn.Module, Forward], dict[nn.Module, AttentionHandler]]:
    """What to replace so that the last layer runs for the first token only."""
    last = model.modules.layers[-1]
    shortened = _ShortenedLayer(last, last.enter.forward, model.architecture.layout)
    return {last.enter: shortened.forward}, {last.attention: shortened.attend}


@dataclass(slots=True)
class _ShortenedLayer:
    """The last layer, for as long as it is replaced.

    Attributes:
        modules: Its modules.
        own_forward: Its forward, for any number of rows.
        layout: Where its norms stand.
        stream: [batch, pos, d_model] what it reads in the forward that is running.
    """

    modules: LayerModules
    own_forward: Callable[..., Any]
    layout: Layout
    stream: Tensor | None = None

    def forward(self, stream: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.stream = stream
        return self.own_forward(stream[:, :1], *args, **kwargs)

    def attend(self, call: AttentionCall) -> Float[Tensor, "batch 1 head d_head"]:
        assert self.stream is not None, "the attention runs inside the layer"
        read = self.stream if self.layout == "post-norm" else self.modules.norm(self.stream)
        query = rearrange(call.query, "b head 1 d -> b head d")
        keys = self._columns(self.modules.k)
        queries = einsum(query, keys, "b head d, head d model -> b head model")[:, None]
        scaling = call.options.get("scaling") or query.shape[-1] ** -0.5
        seen = replace(
            call,
            query=queries,
            key=read[:, None],
            value=read[:, None],
            mask=None if call.mask is None else call.mask[:, :, :1],
            options={**call.options, "scaling": scaling},
        ).run()
        values = self._columns(self.modules.v)
        z = einsum(seen, values, "b head one model, head d model -> b one head d")
        bias = getattr(self.modules.v, "bias", None)
        if isinstance(bias, Tensor):
            z = z + rearrange(bias, "(head d) -> head d", head=self.modules.n_heads)
        return z

    def _columns(self, projection: nn.Module | None) -> Float[Tensor, "head d_head d_model"]:
        assert projection is not None, "can_shorten looked"
        heads = self.modules.n_heads
        return rearrange(weight_of(projection), "(head d) model -> head d model", head=heads)
