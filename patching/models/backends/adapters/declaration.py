"""From a declaration to an architecture adapter of TransformerLens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

_COMPONENTS = "transformer_lens.model_bridge.generalized_components"
_FACTORY = "transformer_lens.factories.architecture_adapter_factory"


@dataclass(frozen=True, slots=True)
class LensAdapter:
    """A classifier as TransformerLens sees it.

    Attributes:
        model_class: Name of the transformers class.
        body: Transformers class of which TransformerLens has an adapter, with the same body.
        unembed: Path of the linear module that gives the logits; its component is `unembed`.
        head: Further linear modules of the classifier: component -> path.
        dropped: Components of the other class that this one lacks.
        prefix: Put before the paths of the other class.
        moved: Paths that differ: component (`blocks.attn.q`) -> path from the component above.
    """

    model_class: str
    body: str
    unembed: str
    head: Mapping[str, str] = field(default_factory=dict[str, str])
    dropped: tuple[str, ...] = ()
    prefix: str = ""
    moved: Mapping[str, str] = field(default_factory=dict[str, str])


def adapter_class(declared: LensAdapter) -> type[Any]:
    """The adapter of TransformerLens for one class, made from that of another."""
    base: Any = import_module(_FACTORY).SUPPORTED_ARCHITECTURES[declared.body]

    def __init__(self: Any, cfg: Any) -> None:
        base.__init__(self, cfg)
        _adapt(declared, self.component_mapping)

    return type(f"{declared.model_class}Adapter", (base,), {"__init__": __init__})


def _adapt(declared: LensAdapter, components: dict[str, Any]) -> None:
    parts = import_module(_COMPONENTS)
    for name in ("unembed", *declared.dropped):
        del components[name]
    for component in components.values():
        component.name = f"{declared.prefix}{component.name}"
    for name, path in declared.moved.items():
        top, *below = name.split(".")
        component = components[top]
        for part in below:
            component = component.submodules[part]
        component.name = path
    for name, path in declared.head.items():
        components[name] = parts.LinearBridge(name=path)
    components["unembed"] = parts.UnembeddingBridge(name=declared.unembed)
