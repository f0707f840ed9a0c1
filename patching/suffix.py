"""Re-runs a model from one row on, from the recorded inputs of one run.

The model's own forward is called; what cannot change is bypassed:

1. the embedding and all rows before the patched one return the recorded stream;
2. in the patched row, the parts before the patch (projections, attention, output projection)
   return what was recorded, or the patched value;
3. all later rows run as they are, masks included;
4. where the classifier reads the first token, the last row runs for that token only (see
   `patching.models.shortcut`).

No forward pass is written here by hand, so a family needs nothing but its declaration. The fourth
point is a shortcut, and is tested against the replay without it.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from patching.models.attention import AttentionCall, AttentionHandler, intercepted
from patching.models.cache import ActivationCache
from patching.models.frames import Frame
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
    gradients: bool = False,
) -> Generator["Suffix", None, None]:
    """A `Suffix` for one batch of one run; the model's attention is intercepted meanwhile.

    Args:
        model: The model.
        batch: Keyword arguments of the run.
        cache: Its `resid_pre`, `z` and `attn_out` in the rows that are patched, and its frames; in
            a shortened last row the first position of z and attn_out is enough.
        shortcut: Whether the last row may run for the first token only.
        gradients: Whether logits keep their gradients, where these are enabled.
    """
    with intercepted(model.hf, {}):
        yield Suffix(model, batch, cache, shortcut and can_shorten(model), gradients=gradients)


class Suffix:
    """What follows a row, for one batch of one run.

    Attributes:
        model: The model.
        batch: Keyword arguments of the run.
        cache: What it recorded.
        shortens: Whether the last row runs for the first token only.
    """

    def __init__(
        self,
        model: PatchableModel,
        batch: Mapping[str, Tensor],
        cache: ActivationCache,
        shortens: bool,
        *,
        gradients: bool = False,
    ) -> None:
        self.model = model
        self.batch = batch
        self.cache = cache
        self.shortens = shortens
        self._forward = model.call if gradients else model.forward
        self._rows = model.modules.layers
        self._frames = cache.frames or _read_frames(model, batch)

    def entering(
        self, layer: int, stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if this stream enters the row."""
        return self._replay(layer, stream, {}, {}, self.shortens)

    def leaving(
        self, layer: int, stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if this stream leaves the row."""
        shorten = self.shortens and layer < len(self._rows) - 1
        first, _ = self._stream_of(layer)
        forwards = self._passing(first, layer + 1, stream) | self._beside(layer)
        return self._run(forwards, {}, shorten)

    def from_attention(
        self, layer: int, attn_out: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the row's heads wrote this together, with the recorded stream."""
        bypassed = self._without_attention(layer, attn_out)
        return self._replay(layer, self.at(layer, "resid_pre"), bypassed, {}, self.shortens)

    def from_mlp(
        self, layer: int, mlp_out: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the row's MLP gave this output, with the recorded stream and attention."""
        bypassed = self._without_attention(layer, self.at(layer, "attn_out"))
        mlp = self._rows[layer].mlp
        assert mlp is not None, "plans name MLPs that exist"
        bypassed[mlp] = _always(mlp_out[:, self.rows(layer)])
        return self._replay(layer, self.at(layer, "resid_pre"), bypassed, {}, self.shortens)

    def with_attention(
        self, layer: int, substitute: Substitute
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits if the row called its attention function otherwise, with the recorded stream."""
        shorten = self.shortens and layer < len(self._rows) - 1
        handlers = {self._rows[layer].attention: lambda call: substitute(call).run()}
        return self._replay(layer, self.at(layer, "resid_pre"), {}, handlers, shorten)

    def rows(self, layer: int) -> slice:
        """Positions that `from_attention` and `from_mlp` use of a row's values."""
        return slice(0, 1) if self.shortens and layer == len(self._rows) - 1 else slice(None)

    def at(self, layer: int, activation: Activation) -> Tensor:
        """What was recorded."""
        return self.cache[self._rows[layer].site(activation)]

    def shape(self, layer: int) -> tuple[int, ...]:
        """Shape of what the row's attention, or branch, returned."""
        return self._frames[self._rows[layer].attention].shape

    def _without_attention(self, layer: int, attn_out: Tensor) -> dict[nn.Module, Forward]:
        """The output projection, and all that leads to it, returns this."""
        row, written = self._rows[layer], attn_out[:, self.rows(layer)]
        bypassed = {row.attention: self._returning(row.attention, written)}
        if not row.o_inside:
            bypassed[row.o] = _always(written)
        return bypassed

    def _replay(
        self,
        layer: int,
        stream: Tensor,
        bypassed: Mapping[nn.Module, Forward],
        handlers: Mapping[nn.Module, AttentionHandler],
        shorten: bool,
    ) -> Tensor:
        first, _ = self._stream_of(layer)
        forwards = self._passing(first, layer, stream) | self._beside(layer)
        return self._run({**forwards, **bypassed}, handlers, shorten)

    def _run(
        self,
        forwards: Mapping[nn.Module, Forward],
        handlers: Mapping[nn.Module, AttentionHandler],
        shorten: bool,
    ) -> Tensor:
        calls: dict[nn.Module, AttentionHandler] = {}
        if shorten:
            last, calls = shorten_last_layer(self.model)
            forwards = {**last, **forwards}
        with replaced(forwards), intercepted(self.model.hf, {**calls, **handlers}):
            return self._forward(self.batch)

    def _passing(self, first: int, end: int, stream: Tensor) -> dict[nn.Module, Forward]:
        """The embedding of a stream and its rows before `end` return what leaves them.

        What the last of them returns is read; of the others only the form matters.
        """
        embedding = self.model.modules.embeddings[self._rows[first].stack]
        last = self._rows[end - 1].leave if end > first else embedding
        modules = [module for row in self._rows[first:end] for module in row.body]
        unread = _always(stream)
        return {
            module: self._returning(module, stream)
            if module is last or self._frames[module].rest is not None
            else unread
            for module in (embedding, *modules)
        }

    def _beside(self, layer: int) -> dict[nn.Module, Forward]:
        """Other streams, as far as a patch in this row cannot change them."""
        first, end = self._stream_of(layer)
        forwards: dict[nn.Module, Forward] = {}
        if first > 0:
            done = self.at(first - 1, "resid_post")
            for row in self._rows[:first]:
                forwards |= {module: self._returning(module, done) for module in row.body}
        if end < len(self._rows):
            stream = self.at(end + 1, "resid_pre")
            forwards |= {module: self._returning(module, stream) for module in self._rows[end].body}
        return forwards

    def _stream_of(self, layer: int) -> tuple[int, int]:
        """First row of the stream that this row writes into, and one past its last."""
        starts = [i for i, row in enumerate(self._rows) if row.enters]
        first = max(i for i in starts if i <= layer)
        return first, min((i for i in starts if i > layer), default=len(self._rows))

    def _returning(self, module: nn.Module, value: Tensor) -> Forward:
        return _always(self._frames[module].around(value))


def needed_beside(model: PatchableModel, layers: Iterable[int]) -> set[Site]:
    """What has to be recorded of other streams for patches in these rows.

    For a patch in the decoder that is what the encoder gave. For one in the encoder it is the
    stream after the decoder's first self-attention, which sees nothing of the encoder.
    """
    rows = model.modules.layers
    starts = [i for i, row in enumerate(rows) if row.enters and i > 0]
    chosen = set(layers)
    after = {rows[i - 1].site("resid_post") for i in starts if any(k >= i for k in chosen)}
    return after | {rows[i + 1].site("resid_pre") for i in starts if any(k < i for k in chosen)}


def _read_frames(model: PatchableModel, batch: Mapping[str, Tensor]) -> dict[nn.Module, Frame]:
    with model.hooks.reading((), frames=True) as recording:
        model.forward(batch)
    return recording.frames


def _always(value: Any) -> Forward:
    return lambda *_args, **_kwargs: value
