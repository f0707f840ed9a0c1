"""Stands between a model and its attention function, for as long as a `with` block lasts.

transformers looks the attention function up by name at every call. Inside `intercepted` the name
points to a function of ours, which hands each call to the handler of its module; without a
handler the model's own implementation runs. The mask function is registered along with it: a name
without one makes transformers drop padding and causal masks silently.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_PREFIX = "intercepted-"
_HANDLER = "_attention_handler"
_CONFIGS: "WeakKeyDictionary[PreTrainedModel, list[Any]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """One call of the attention function.

    Attributes:
        module: The attention module that calls.
        query: Queries; there may be fewer positions than keys.
        key: Keys.
        value: Values.
        mask: As the implementation takes it; None lets every position see every other.
        options: Further keyword arguments (scaling, dropout, ...).
        implementation: Name of the model's own attention function.
    """

    module: nn.Module
    query: Float[Tensor, "batch head dst d_head"]
    key: Float[Tensor, "batch head src d_head"]
    value: Float[Tensor, "batch head src d_head"]
    mask: Tensor | None
    options: dict[str, Any]
    implementation: str

    def run(self) -> Float[Tensor, "batch dst head d_head"]:
        """z, from the model's own implementation."""
        if self.implementation == "eager":
            return self.attend(self.pattern())
        function = ALL_ATTENTION_FUNCTIONS[self.implementation]
        return function(self.module, self.query, self.key, self.value, self.mask, **self.options)[0]

    def pattern(self) -> Float[Tensor, "batch head dst src"]:
        """Attention probabilities. Valid for the implementation `eager`, whose mask is additive."""
        scaling = self.options.get("scaling")
        if scaling is None:
            scaling = self.query.shape[-1] ** -0.5
        scores = self.query @ self.key.transpose(-1, -2) * scaling
        for added in (self.options.get("position_bias"), self.mask):
            if added is not None:
                scores = scores + added
        return torch.softmax(scores, dim=-1)

    def attend(
        self, pattern: Float[Tensor, "batch head dst src"]
    ) -> Float[Tensor, "batch dst head d_head"]:
        """z, from given attention probabilities."""
        return (pattern @ self.value).transpose(1, 2)


AttentionHandler = Callable[[AttentionCall], Tensor]
"""Takes a call, returns z: [batch, dst, head, d_head]."""


@contextmanager
def intercepted(
    hf: PreTrainedModel,
    handlers: Mapping[nn.Module, AttentionHandler],
    implementation: str | None = None,
) -> Generator[None, None, None]:
    """Hand the attention calls of some modules to handlers.

    Contexts nest; the inner handler of a module replaces the outer one until it is left.

    Args:
        hf: The model.
        handlers: By the module that calls the attention function.
        implementation: Attention function to run underneath, such as `eager`, which alone takes
            additive masks. By default the model's own.
    """
    configs = _configs(hf)
    before = configs[0]._attn_implementation or "eager"
    name = _PREFIX + (implementation or before.removeprefix(_PREFIX))
    _register(name)
    outer = {module: module.__dict__.get(_HANDLER) for module in handlers}
    if name != before:
        _set_implementation(configs, name)
    try:
        for module, handler in handlers.items():
            module.__dict__[_HANDLER] = handler
        yield
    finally:
        for module, handler in outer.items():
            module.__dict__.pop(_HANDLER)
            if handler is not None:
                module.__dict__[_HANDLER] = handler
        if name != before:
            _set_implementation(configs, before)


def _configs(hf: PreTrainedModel) -> list[Any]:
    """The configs that its attention modules look the name up in; T5's stacks have their own."""
    if hf not in _CONFIGS:
        found = (module.config for module in hf.modules() if hasattr(module, "config"))
        _CONFIGS[hf] = list({id(config): config for config in found}.values())
    return _CONFIGS[hf]


def _set_implementation(configs: list[Any], name: str) -> None:
    for config in configs:
        config._attn_implementation = name


@cache
def _register(name: str) -> None:
    implementation = name.removeprefix(_PREFIX)
    AttentionInterface.register(name, partial(_dispatch, implementation))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[implementation])


def _dispatch(
    implementation: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    call = AttentionCall(module, query, key, value, attention_mask, options, implementation)
    handler: AttentionHandler = module.__dict__.get(_HANDLER, AttentionCall.run)
    return handler(call), None
