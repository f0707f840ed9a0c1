"""Patches the heads, MLPs and whole layers of teacher and student, for every contrast.

Heads, MLPs and all heads of a layer together are patched in one pass over the pairs; patterns
alone and values alone take one pass each.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from behavior.examples import Contrast, Pairs
from behavior.readout import Readout
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.progress import Progress
from patching import Effects, PatchableModel, patch_layers
from patching.activation import patch_nodes
from patching.models.nodes import head_nodes, layer_nodes, mlp_nodes


@dataclass(frozen=True, eq=False)
class ComponentEffects:
    """Effects of one model for one contrast, in logits, per pair.

    Attributes:
        nodes: Of every head, every MLP, and all heads of each layer together.
        patterns: Of all attention patterns of each layer.
        values: Of all values of each layer.
    """

    nodes: Effects
    patterns: Effects
    values: Effects

    def arrays(self, role: Role, contrast: Contrast) -> dict[str, np.ndarray]:
        """Per-pair arrays by their stored names, float32."""
        found = {
            f"{role}.{contrast}": self.nodes.heads,
            f"{role}.mlps.{contrast}": self.nodes.mlps,
            f"{role}.layers.{contrast}": self.nodes.layers,
            f"{role}.patterns.{contrast}": self.patterns.layers,
            f"{role}.values.{contrast}": self.values.layers,
            f"{role}.clean.{contrast}": self.nodes.clean,
            f"{role}.corrupted.{contrast}": self.nodes.corrupted,
        }
        return {name: tensor.numpy().astype(np.float32) for name, tensor in found.items()}


RoleEffects = dict[Role, dict[Contrast, ComponentEffects]]


def patch_pair(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    pairs: Mapping[Contrast, Pairs],
    config: ComparisonConfig,
    progress: Progress,
) -> RoleEffects:
    """Effects in teacher and student; equal models are patched once."""
    known: dict[int, dict[Contrast, ComponentEffects]] = {}
    for role in PAIR:
        if id(models[role]) not in known:
            known[id(models[role])] = {
                contrast: _patch(models[role], readouts[role], given, config, progress, role)
                for contrast, given in pairs.items()
            }
    return {role: known[id(models[role])] for role in PAIR}


def _patch(
    model: PatchableModel,
    readout: Readout,
    pairs: Pairs,
    config: ComparisonConfig,
    progress: Progress,
    role: Role,
) -> ComponentEffects:
    n_layers = model.spec.n_layers
    nodes = (*head_nodes(n_layers, model.spec.n_heads), *mlp_nodes(n_layers))
    progress.stage(f"patch heads: {role}, {pairs.contrast}")
    single = patch_nodes(
        model,
        pairs,
        (*nodes, *layer_nodes(n_layers)),
        config.direction,
        batch_size=config.batch_size,
        readout=readout,
        progress=progress.step,
    )
    progress.stage(f"patch layers: {role}, {pairs.contrast}")
    patterns, values = (
        patch_layers(
            model,
            pairs,
            config.direction,
            what,
            batch_size=config.batch_size,
            readout=readout,
            progress=progress.step,
        )
        for what in ("patterns", "values")
    )
    return ComponentEffects(single, patterns, values)
