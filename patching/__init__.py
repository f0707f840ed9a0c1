"""Opens a model (`patching.models`), and intervenes on it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
    from patching.alignment import align_pairs, align_quads
    from patching.attribution import attribute_heads, attribute_mlps, attribute_nodes
    from patching.effects import Effects
    from patching.models.checkpoints import resolve_checkpoint
    from patching.models.loading import load_checkpoint
    from patching.models.model import PatchableModel
    from patching.positions import PositionEffects, patch_positions

__all__ = [
    "Effects",
    "PatchableModel",
    "PositionEffects",
    "align_pairs",
    "align_quads",
    "attribute_heads",
    "attribute_mlps",
    "attribute_nodes",
    "load_checkpoint",
    "patch_heads",
    "patch_layers",
    "patch_mlps",
    "patch_nodes",
    "patch_positions",
    "resolve_checkpoint",
]

_HOME = {
    "Effects": "effects",
    "PatchableModel": "models.model",
    "PositionEffects": "positions",
    "align_pairs": "alignment",
    "align_quads": "alignment",
    "attribute_heads": "attribution",
    "attribute_mlps": "attribution",
    "attribute_nodes": "attribution",
    "load_checkpoint": "models.loading",
    "patch_positions": "positions",
    "resolve_checkpoint": "models.checkpoints",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'activation')}"), name)
