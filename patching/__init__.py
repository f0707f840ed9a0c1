"""Opens a model (`patching.models`), and intervenes on it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patching.ablation import AblationEffects, ablate_heads
    from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
    from patching.alignment import align_pairs, align_quads
    from patching.attribution import attribute_heads, attribute_mlps, attribute_nodes
    from patching.effects import Effects
    from patching.models.checkpoints import resolve_checkpoint
    from patching.models.loading import load_checkpoint
    from patching.models.model import PatchableModel
    from patching.path_effects import PathEffects
    from patching.paths import patch_edges, patch_paths
    from patching.positions import PositionEffects, patch_positions
    from patching.screen import ScreenedEffects, screen_heads
    from patching.token_attributions import TokenAttributions

__all__ = [
    "AblationEffects",
    "Effects",
    "PatchableModel",
    "PathEffects",
    "PositionEffects",
    "ScreenedEffects",
    "TokenAttributions",
    "ablate_heads",
    "align_pairs",
    "align_quads",
    "attribute_heads",
    "attribute_mlps",
    "attribute_nodes",
    "load_checkpoint",
    "patch_edges",
    "patch_heads",
    "patch_layers",
    "patch_mlps",
    "patch_nodes",
    "patch_paths",
    "patch_positions",
    "resolve_checkpoint",
    "screen_heads",
]

_HOME = {
    "AblationEffects": "ablation",
    "Effects": "effects",
    "PatchableModel": "models.model",
    "PathEffects": "path_effects",
    "PositionEffects": "positions",
    "ScreenedEffects": "screen",
    "TokenAttributions": "token_attributions",
    "ablate_heads": "ablation",
    "align_pairs": "alignment",
    "align_quads": "alignment",
    "attribute_heads": "attribution",
    "attribute_mlps": "attribution",
    "attribute_nodes": "attribution",
    "load_checkpoint": "models.loading",
    "patch_edges": "paths",
    "patch_paths": "paths",
    "patch_positions": "positions",
    "resolve_checkpoint": "models.checkpoints",
    "screen_heads": "screen",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'activation')}"), name)
