"""Re-runs a model from one layer on, from the recorded inputs of one run.

The model's own forward is called; what cannot change is bypassed:

1. the embedding and all layers before the patched one return the recorded stream;
2. in the patched layer, the parts before the patch (projections, attention, output projection)
   return what was recorded, or the patched value;
3. all later layers run as they are, masks included;
4. where the classifier reads the first token, the last layer runs for that token only (see
   `patching.models.shortcut`).

No forward pass is written here by hand, so a family needs nothing but its declaration. The fourth
point is a shortcut, and is tested against the replay without it.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from patching.models.attention import AttentionCall, AttentionHandler, intercepted
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Activation, Site
from patching.models.shortcut import Forward, can_shorten, replaced, shorten_last_layer

Substitute = Callable[[AttentionCall], AttentionCall]


@contextmanager
def open_suffix(
    model: PatchableModel,
    batch: Mapping[str, Tensor],
    cache: ActivationCache,
    *,
    shortcut: bool = True,
) -> Generator["Suffix", None, None]:
    """A `Suffix` for one batch of one run; the model's attention is intercepted meanwhile.

    Args:
        model: The model.
        batch: Keyword arguments of the run.
        cache: Its `resid_pre`, `z` and `attn_out` in the layers that are patched; in a shortened
            last layer the first position of z and attn_out is enough.
        shortcut: Whether the last layer may run for the first token only.
    """
    with intercepted(model.hf, {}):
        yield Suffix(model, batch, cache, shortcut and can_shorten(model))


class Suffix:
    """What follows a layer, for one batch of one run.

    Attributes:
        model: The model.
        batch: Keyword arguments of the run.
        cache: What it recorded.
        shortens: Whether the last layer runs for the first token only.
    """

    def __init__(
        self,
        model: PatchableModel,
        batch: Mapping[str, Tensor],
        cache: ActivationCache,
        shortens: bool,
    ) -> None:
        self.model = model
        self.batch = batch
        self.cache = cache
        self.shortens = shortens
        self._layers = model.modules.layers

    def from_stream(
        self, layer: int, stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if this stream enters the layer; one past the last layer is the classifier."""
        shorten = self.shortens and layer < len(self._layers)
        return self._replay(layer, stream, {}, {}, shorten)

    def from_attention(
        self, layer: int, attn_out: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the layer's attention gave this output, with the recorded stream."""
        bypassed, handlers = self._without_attention(layer, attn_out)
        return self._replay(layer, self.at(layer, "resid_pre"), bypassed, handlers, self.shortens)

    def from_mlp(
        self, layer: int, mlp_out: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the layer's MLP gave this output, with the recorded stream and attention."""
        bypassed, handlers = self._without_attention(layer, self.at(layer, "attn_out"))
        bypassed[self._layers[layer].mlp] = _returning(mlp_out[:, self.rows(layer)])
        return self._replay(layer, self.at(layer, "resid_pre"), bypassed, handlers, self.shortens)

    def with_attention(
        self, layer: int, substitute: Substitute
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the layer called its attention function otherwise, with the recorded stream."""
        shorten = self.shortens and layer < len(self._layers) - 1
        handlers = {self._layers[layer].attention: lambda call: substitute(call).run()}
        return self._replay(layer, self.at(layer, "resid_pre"), {}, handlers, shorten)

    def rows(self, layer: int) -> slice:
        """Positions that `from_attention` and `from_mlp` use of a layer's values."""
        return slice(0, 1) if self.shortens and layer == len(self._layers) - 1 else slice(None)

    def at(self, layer: int, activation: Activation) -> Tensor:
        """What was recorded."""
        return self.cache[Site(layer, activation)]

    def _without_attention(
        self, layer: int, attn_out: Tensor
    ) -> tuple[dict[nn.Module, Forward], dict[nn.Module, AttentionHandler]]:
        """Everything up to the output projection returns what was recorded."""
        modules, rows = self._layers[layer], self.rows(layer)
        z = self.at(layer, "z")[:, rows]
        unread = _returning(rearrange(z, "b pos head d -> b pos (head d)"))
        bypassed: dict[nn.Module, Forward] = {modules.q: unread, modules.k: unread}
        bypassed |= {modules.v: unread, modules.o: _returning(attn_out[:, rows])}
        return bypassed, {modules.attention: lambda _call: z}

    def _replay(
        self,
        layer: int,
        stream: Tensor,
        bypassed: Mapping[nn.Module, Forward],
        handlers: Mapping[nn.Module, AttentionHandler],
        shorten: bool,
    ) -> Tensor:
        recorded = _returning(stream)
        forwards: dict[nn.Module, Forward] = {self.model.modules.embedding: recorded}
        forwards |= {before.block: recorded for before in self._layers[:layer]}
        calls: dict[nn.Module, AttentionHandler] = {}
        if shorten:
            last, attention = shorten_last_layer(self.model)
            forwards, calls = forwards | last, attention
        with replaced({**forwards, **bypassed}), intercepted(self.model.hf, {**calls, **handlers}):
            return self.model.forward(self.batch)


def _returning(value: Tensor) -> Forward:
    def forward(*_args: Any, **_kwargs: Any) -> Tensor:
        return value

    return forward
