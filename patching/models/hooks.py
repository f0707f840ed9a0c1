"""Reads and writes activations of a running model, inside `with` blocks.

Each site is the input or the output of one declared module (`patching.models.places`). Every hook
counts how often it fired; a hook that did not fire exactly once in each forward means that the
declaration does not describe the model, and raises.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from behavior.errors import DataError, SelfCheckError
from patching.models.attention import AttentionCall, AttentionHandler, intercepted
from patching.models.frames import Frame, Recording
from patching.models.nodes import Activation, Site
from patching.models.places import Place, place_of
from patching.models.rows import BoundModules, LayerModules

Edit = Callable[[Tensor], Tensor]
"""Takes the value of a whole site, returns the value to go on with."""

Remove = Callable[[], None]

_ORDER: tuple[Activation, ...] = ("z", "result", "attn_out", "resid_mid")
"""Later ones are set by a change of the earlier ones, so their hooks have to come after them."""


class SiteHooks:
    """Places hooks on one model.

    Attributes:
        hf: The model.
        modules: Its declared modules.
    """

    def __init__(
        self, hf: PreTrainedModel, modules: BoundModules, family: str, *, post_norm: bool
    ) -> None:
        self.hf = hf
        self.modules = modules
        self._family = family
        self._post_norm = post_norm
        self._pattern_edits: dict[nn.Module, list[Edit]] = {}

    @contextmanager
    def reading(
        self, sites: Iterable[Site], *, frames: bool = False
    ) -> Generator[Recording, None, None]:
        """Collect whole sites during one forward; the mapping fills while it runs.

        Args:
            sites: What to collect.
            frames: Whether to keep what surrounds the stream in the outputs of modules.
        """
        values = Recording()
        keepers = {site: partial(_keep_value, values, site) for site in sites}
        with ExitStack() as stack:
            for module in self._framed() if frames else ():
                keep_frame = partial(_keep_frame, values.frames)
                stack.callback(module.register_forward_hook(keep_frame).remove)
            stack.enter_context(self.editing(keepers))
            yield values

    @contextmanager
    def editing(self, edits: Mapping[Site, Edit]) -> Generator[None, None, None]:
        """Pass whole sites through functions in every forward inside the block.

        Of several sites the one that runs later sees what became of the earlier ones. Sites with
        the activation `pattern` run the whole model with eager attention meanwhile.

        Raises:
            SelfCheckError: In a forward in which a hook did not fire exactly once.
        """
        fired: Counter[Site] = Counter()
        with ExitStack() as stack:
            for site in sorted(edits, key=_when):
                counted = partial(_count_and_edit, fired, site, edits[site])
                if site.activation == "pattern":
                    stack.enter_context(self._editing_pattern(site, counted))
                else:
                    for remove in self._place(site, counted):
                        stack.callback(remove)
            begin = self.hf.register_forward_pre_hook(lambda *_: fired.clear())
            stack.callback(begin.remove)
            end = self.hf.register_forward_hook(lambda *_: self._check_fired(edits, fired))
            stack.callback(end.remove)
            yield

    def row(self, site: Site) -> LayerModules:
        """The row of a site.

        Raises:
            DataError: If the model has no such site.
        """
        row = self.modules.row(site)
        if row is None:
            names = ", ".join(row.name for row in self.modules.layers)
            raise DataError(f"This model has no {site}. It has the rows {names}.")
        return row

    def _place(self, site: Site, edit: Edit) -> tuple[Remove, ...]:
        row = self.row(site)
        if site.activation == "result":
            return _edit_results(row, edit)
        if site.activation != "resid_mid":
            return (_edit_at(place_of(row, site.activation), edit),)
        if self._post_norm:
            return (_on_output(row.norm, edit),)
        return _edit_sum(row, edit)

    @contextmanager
    def _editing_pattern(self, site: Site, edit: Edit) -> Generator[None, None, None]:
        attention = self.row(site).attention
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

    def _framed(self) -> dict[nn.Module, None]:
        rows = self.modules.layers
        return dict.fromkeys(module for row in rows for module in (*row.body, row.attention)) | (
            dict.fromkeys(self.modules.embeddings.values())
        )


def _when(site: Site) -> int:
    """Place of an activation among those that share the ends of a module."""
    return _ORDER.index(site.activation) if site.activation in _ORDER else 0


def _keep_value(values: Recording, site: Site, value: Tensor) -> Tensor:
    values[site] = value
    return value


def _count_and_edit(fired: Counter[Site], site: Site, edit: Edit, value: Tensor) -> Tensor:
    fired[site] += 1
    return edit(value)


def _keep_frame(
    frames: dict[nn.Module, Frame], module: nn.Module, _inputs: object, output: object
) -> None:
    frames[module] = Frame.of(output)


def _edit_at(place: Place, edit: Edit) -> Remove:
    change = partial(_change, place, edit)
    return (_on_input if place.end == "input" else _on_output)(place.module, change)


def _change(place: Place, edit: Edit, raw: Tensor) -> Tensor:
    return place.write(raw, edit(place.read(raw)))


def _edit_results(row: LayerModules, edit: Edit) -> tuple[Remove, ...]:
    """The results are never formed by the model: add their change to their sum."""
    heads, total = place_of(row, "z"), place_of(row, "attn_out")
    seen: list[Tensor] = []

    def change(raw: Tensor) -> Tensor:
        z = heads.read(seen.pop()).flatten(start_dim=2)
        before = row.results(z, tuple(raw.shape) if row.is_image else None)
        after = edit(before)
        value = total.read(raw)
        return total.write(raw, value if after is before else value + (after - before).sum(dim=2))

    return _on_input(row.o, _keeping(seen)), _on_output(total.module, change)


def _edit_sum(row: LayerModules, edit: Edit) -> tuple[Remove, ...]:
    """The stream after the attention of a pre-norm row: change the attention's part of the sum."""
    seen: list[Tensor] = []

    def change(attn_out: Tensor) -> Tensor:
        if not seen:
            raise RuntimeError(f"the norm of {row.name} did not run before its heads")
        stream = seen.pop()
        before = stream + attn_out
        after = edit(before)
        return attn_out if after is before else after - stream

    return _on_input(row.norm, _keeping(seen)), _on_output(row.o, change)


def _keeping(seen: list[Tensor]) -> Edit:
    def keep(value: Tensor) -> Tensor:
        seen[:] = [value]
        return value

    return keep


def _pattern_handler(edits: list[Edit]) -> AttentionHandler:
    def handle(call: AttentionCall) -> Tensor:
        pattern = call.pattern()
        for edit in edits:
            pattern = edit(pattern)
        return call.attend(pattern)

    return handle


def _on_input(module: nn.Module, edit: Edit) -> Remove:
    # A copy of the model made meanwhile shares a lambda; it would copy a partial and its state.
    return module.register_forward_pre_hook(
        lambda _module, args, kwargs: _edit_input(edit, args, kwargs), with_kwargs=True
    ).remove


def _edit_input(
    edit: Edit, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (edit(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}


def _on_output(module: nn.Module, edit: Edit) -> Remove:
    return module.register_forward_hook(
        lambda _module, _args, output: _edit_output(edit, output)
    ).remove


def _edit_output(edit: Edit, output: object) -> object:
    if isinstance(output, tuple):
        first, *rest = cast("tuple[Tensor, ...]", output)
        return (edit(first), *rest)
    return edit(cast(Tensor, output))
