"""Opens a model (`patching.models`), and intervenes on it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patching.activation import patch_heads, patch_layers, patch_mlps, patch_positions
    from patching.attribution import attribute_heads
    from patching.effects import Effects
    from patching.models.model import PatchableModel, load_checkpoint

__all__ = [
    "Effects",
    "PatchableModel",
    "attribute_heads",
    "load_checkpoint",
    "patch_heads",
    "patch_layers",
    "patch_mlps",
    "patch_positions",
]

_HOME = {
    "Effects": "effects",
    "PatchableModel": "models.model",
    "attribute_heads": "attribution",
    "load_checkpoint": "models.model",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'activation')}"), name)
