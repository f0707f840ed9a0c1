"""Reads and writes activations of a running model, inside `with` blocks.

Each site is the input or the output of one declared module, seen through the shape that
`patching.models.nodes` promises. Every hook counts how often it fired; a hook that did not fire
exactly once in each forward means that the declaration does not describe the model, and raises.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, cast

from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from behavior.errors import SelfCheckError
from patching.models.architecture import Architecture, BoundModules, LayerModules
from patching.models.attention import AttentionCall, AttentionHandler, intercepted
from patching.models.nodes import Activation, Site

Edit = Callable[[Tensor], Tensor]
"""Takes the value of a whole site, returns the value to go on with."""

_End = Literal["input", "output"]

_PLACES: dict[Activation, tuple[str, _End]] = {
    "resid_pre": ("block", "input"),
    "resid_post": ("block", "output"),
    "q": ("q", "output"),
    "k": ("k", "output"),
    "v": ("v", "output"),
    "z": ("o", "input"),
    "result": ("o", "output"),
    "attn_out": ("o", "output"),
    "mlp_out": ("mlp", "output"),
}


class SiteHooks:
    """Places hooks on one model.

    Attributes:
        hf: The model.
        modules: Its declared modules.
        n_heads: Heads of each layer.
    """

    def __init__(
        self, hf: PreTrainedModel, architecture: Architecture, modules: BoundModules, n_heads: int
    ) -> None:
        self.hf = hf
        self.modules = modules
        self.n_heads = n_heads
        self._family = architecture.family
        self._post_norm = architecture.layout == "post-norm"
        self._pattern_edits: dict[nn.Module, list[Edit]] = {}

    @contextmanager
    def reading(self, sites: Iterable[Site]) -> Generator[dict[Site, Tensor], None, None]:
        """Collect whole sites during one forward; the mapping fills while it runs."""
        values: dict[Site, Tensor] = {}

        def keeper(site: Site) -> Edit:
            def keep(value: Tensor) -> Tensor:
                values[site] = value
                return value

            return keep

        with self.editing({site: keeper(site) for site in sites}):
            yield values

    @contextmanager
    def editing(self, edits: Mapping[Site, Edit]) -> Generator[None, None, None]:
        """Pass whole sites through functions in every forward inside the block.

        Sites with the activation `pattern` run the whole model with eager attention meanwhile.

        Raises:
            SelfCheckError: In a forward in which a hook did not fire exactly once.
        """
        fired: Counter[Site] = Counter()

        def counted(site: Site) -> Edit:
            def count_and_edit(value: Tensor) -> Tensor:
                fired[site] += 1
                return edits[site](value)

            return count_and_edit

        with ExitStack() as stack:
            for site in edits:
                if site.activation == "pattern":
                    stack.enter_context(self._editing_pattern(site, counted(site)))
                else:
                    stack.callback(self._place(site, counted(site)))
            begin = self.hf.register_forward_pre_hook(lambda *_: fired.clear())
            stack.callback(begin.remove)
            end = self.hf.register_forward_hook(lambda *_: self._check_fired(edits, fired))
            stack.callback(end.remove)
            yield

    def _place(self, site: Site, edit: Edit) -> Callable[[], None]:
        layer = self.modules.layers[site.layer]
        if site.activation == "resid_mid":
            field, end = ("attention_norm", "output") if self._post_norm else ("mlp_norm", "input")
        else:
            field, end = _PLACES[site.activation]
        module: nn.Module = getattr(layer, field)
        if site.activation == "result":
            return self._on_results(layer, edit)
        shaped = self._by_head(edit) if site.activation in ("q", "k", "v", "z") else edit
        return _on_input(module, shaped) if end == "input" else _on_output(module, shaped)

    @contextmanager
    def _editing_pattern(self, site: Site, edit: Edit) -> Generator[None, None, None]:
        attention = self.modules.layers[site.layer].attention
        edits = self._pattern_edits.setdefault(attention, [])
        edits.append(edit)
        try:
            with intercepted(self.hf, {attention: _pattern_handler(edits)}, implementation="eager"):
                yield
        finally:
            edits.remove(edit)

    def _check_fired(self, sites: Iterable[Site], fired: Counter[Site]) -> None:
        for site in sites:
            if fired[site] != 1:
                raise SelfCheckError(
                    f"The hook at {site} fired {fired[site]} times in a forward pass; expected "
                    f"once. The declaration of the family {self._family!r} does not describe this "
                    "model; mend it in patching/models/families."
                )

    def _by_head(self, edit: Edit) -> Edit:
        def edit_split(value: Tensor) -> Tensor:
            heads = rearrange(value, "b pos (head d) -> b pos head d", head=self.n_heads)
            return rearrange(edit(heads), "b pos head d -> b pos (head d)")

        return edit_split

    def _on_results(self, layer: LayerModules, edit: Edit) -> Callable[[], None]:
        """The results are never formed by the model: add their change to their sum."""

        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            before = head_results(layer, inputs[0], self.n_heads)
            after = edit(before)
            return output if after is before else output + (after - before).sum(dim=2)

        return layer.o.register_forward_hook(hook).remove


def head_results(
    layer: LayerModules, z: Float[Tensor, "batch pos d_z"], n_heads: int
) -> Float[Tensor, "batch pos head d_model"]:
    """What each head adds to the stream: its z times its columns of W_O, without the bias."""
    columns = rearrange(layer.output_weight, "model (head d) -> head d model", head=n_heads)
    heads = rearrange(z, "b pos (head d) -> b pos head d", head=n_heads)
    return einsum(heads, columns, "b pos head d, head d model -> b pos head model")


def _pattern_handler(edits: list[Edit]) -> AttentionHandler:
    def handle(call: AttentionCall) -> Tensor:
        pattern = call.pattern()
        for edit in edits:
            pattern = edit(pattern)
        return call.attend(pattern)

    return handle


def _on_input(module: nn.Module, edit: Edit) -> Callable[[], None]:
    def hook(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(hook, with_kwargs=True).remove


def _on_output(module: nn.Module, edit: Edit) -> Callable[[], None]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], output: object) -> object:
        if isinstance(output, tuple):
            first, *rest = cast("tuple[Tensor, ...]", output)
            return (edit(first), *rest)
        return edit(cast(Tensor, output))

    return module.register_forward_hook(hook).remove
