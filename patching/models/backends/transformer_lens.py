"""TransformerLens: a `TransformerBridge` over a copy of the model.

`bridge_of` gives tools written for TransformerLens what they expect: hooks under its names
(`blocks.3.attn.hook_z`, `encoder_blocks.0.attn.hook_z`, `decoder_blocks.0.cross_attn.hook_z`),
`run_with_cache`, `run_with_hooks`, weights by head. Its logits are those of Hugging Face with eager
attention, exactly. TransformerLens opens ViT, DeiT and T5 as a conditional generator by itself; for
other classifiers see `adapters`. Of its names these mean something else than ours in a post-norm
model (BERT): `hook_attn_out` is taken after the norm (ours is `attn.o.hook_out`), `hook_resid_mid`
before the second norm (ours is `ln1.hook_out`).
"""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from behavior.errors import SelfCheckError, UnsupportedModelError
from patching.models.backends.adapters import ADAPTED, adapter_class
from patching.models.backends.copies import ModelCopy, copy_model, refuse_hooks
from patching.models.backends.libraries import lens_library
from patching.models.backends.protocol import OpenModel
from patching.models.nodes import Activation, Site, own_stack
from patching.models.rows import LayerModules

_FACTORY = "transformer_lens.factories.architecture_adapter_factory"
_BUILDER = "transformer_lens.model_bridge.sources._bridge_builder"
_BLOCKS = {"": "blocks", "enc": "encoder_blocks", "dec": "decoder_blocks"}
_ATTENTION = {"": "attn", "enc": "attn", "dec": "self_attn", "dec.x": "cross_attn"}

LensHook = Callable[..., Tensor | None]
"""Called with a value and, as `hook`, the place; returns what to go on with, or None."""


class TransformerLensBackend:
    """Runs a bridge over a copy of the model, with hooks of TransformerLens.

    Attributes:
        name: `transformer-lens`.
        bridge: The `TransformerBridge`.
    """

    name = "transformer-lens"

    def __init__(self, model: OpenModel) -> None:
        refuse_unknown(model)
        lens_library()
        self._model = model
        self._copy = copy_model(model)
        self.bridge = _build_bridge(model, self._copy)

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch."""
        return self._run(batch, {})

    def read(
        self, batch: Mapping[str, Tensor], sites: Iterable[Site]
    ) -> tuple[Float[Tensor, "batch n_classes"], dict[Site, Tensor]]:
        """Logits of one batch, and the values at some sites."""
        values: dict[Site, Tensor] = {}

        def keeper(site: Site) -> LensHook:
            def keep(value: Tensor, **_where: Any) -> None:
                values[site] = value

            return keep

        logits = self._run(batch, {site: keeper(site) for site in sites})
        return logits, values

    def patched(
        self, batch: Mapping[str, Tensor], values: Mapping[Site, Tensor]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch with some sites set to values."""
        return self._run(batch, {site: _returning(value) for site, value in values.items()})

    def _run(
        self, batch: Mapping[str, Tensor], hooks: Mapping[Site, LensHook]
    ) -> Float[Tensor, "batch n_classes"]:
        refuse_hooks(self._model)
        fired: list[Site] = []

        def counted(site: Site) -> LensHook:
            def count(value: Tensor, **where: Any) -> Tensor | None:
                fired.append(site)
                return hooks[site](value, **where)

            return count

        named = [
            (hook_name(self._copy.row(site), site.activation), counted(site)) for site in hooks
        ]
        with torch.no_grad(), self.bridge.hooks(fwd_hooks=named):
            logits = self._copy.call(batch)
        if sorted(fired) != sorted(hooks):
            lost = sorted(set(hooks) - set(fired)) or fired
            raise SelfCheckError(
                f"TransformerLens ran its hook at {lost[0]} {fired.count(lost[0])} times in a "
                "forward pass; expected once. Use the backend 'hooks' or 'nnsight'."
            )
        return logits


def bridge_of(model: OpenModel) -> Any:
    """A `TransformerBridge` for a model, for tools written for TransformerLens.

    It has modules and weights of its own, so nothing that is done to it reaches `model.hf`. The
    library is handed over as its own import leaves it; see `patching.models.backends.libraries`.
    Afterwards `TransformerBridge.boot_transformers(folder, hf_model=...)` knows our classifiers.

    Raises:
        CheckpointError: If transformer-lens is not installed.
        UnsupportedModelError: If it cannot open a model of this class.
    """
    refuse_unknown(model)
    lens_library(hand_over=True)
    return _build_bridge(model, copy_model(model))


def refuse_unknown(model: OpenModel) -> None:
    """Whether TransformerLens has or can be given an adapter.

    Raises:
        UnsupportedModelError: If not; the message says what can open the model.
    """
    wanted = model.architecture.model_class
    if wanted in ADAPTED:
        return
    lens_library()
    known: Mapping[str, Any] = import_module(_FACTORY).SUPPORTED_ARCHITECTURES
    if wanted not in known or model.architecture.layout == "convolution":
        raise UnsupportedModelError(
            f"TransformerLens cannot open a {wanted}. Use the backend 'hooks' or 'nnsight', which "
            "can."
        )


def hook_name(row: LayerModules, activation: Activation) -> str:
    """TransformerLens' name of one of a row's activations (of `OFFERED`)."""
    stack = own_stack(row.stack)
    block, attention = f"{_BLOCKS[stack]}.{row.index}", _ATTENTION[row.stack]
    match activation:
        case "attn_out":
            return f"{block}.{attention}.o.hook_out"
        case "resid_pre" if row.stack == "dec.x":
            return f"{block}.hook_resid_mid"
        case "resid_pre" | "resid_post" | "mlp_out":
            return f"{block}.hook_{activation}"
        case _:
            return f"{block}.{attention}.hook_{activation}"


def _build_bridge(model: OpenModel, copied: ModelCopy) -> Any:
    _register()
    copied.hf.set_attn_implementation("eager")
    reads_text = isinstance(model.processor, PreTrainedTokenizerBase)
    return import_module(_BUILDER).build_bridge_from_module(
        copied.hf,
        model.architecture.model_class,
        hf_config=copied.hf.config,
        # TransformerLens gives the tokenizer special tokens that it lacks.
        tokenizer=deepcopy(model.processor) if reads_text else None,
        model_name=model.name,
    )


def _register() -> None:
    """Make our adapters known; `boot_transformers` looks classes up in a table of its own."""
    factory: Any = import_module(_FACTORY)
    for name, declared in ADAPTED.items():
        if name not in factory.SUPPORTED_ARCHITECTURES:
            made = adapter_class(declared)
            factory.SUPPORTED_ARCHITECTURES[name] = made
            factory.ArchitectureAdapterFactory.register_adapter(name, made)


def _returning(value: Tensor) -> LensHook:
    return lambda _current, **_where: value
