"""Patches the heads, MLPs and whole rows of teacher and student, for every contrast.

A row is a set of heads that write into the stream side by side: a layer, one of the attentions of
a decoder layer, or a block of a ResNet with its groups of channels. Heads, MLPs and all heads of a
row together are patched in one pass over the pairs; patterns alone and values alone take one pass
each, where there is attention. Attribution estimates all heads from two more forwards and a
backward, always through plain hooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from behavior.examples import Contrast, Pairs
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.running.steps import UNSTORED, Steps
from patching import Effects, PatchableModel, attribute_heads, patch_layers, patch_nodes
from patching.models.nodes import Node


@dataclass(frozen=True, eq=False)
class ComponentEffects:
    """Effects of one model for one contrast, in logits, per pair.

    Attributes:
        nodes: Of every head, every MLP, and all heads of each row together.
        patterns: Of all attention patterns of each row; None without attention.
        values: Of all values of each row; None without attention.
        attribution: First-order estimate for every head.
    """

    nodes: Effects
    patterns: Effects | None
    values: Effects | None
    attribution: Effects

    def arrays(self, role: Role, contrast: Contrast) -> dict[str, np.ndarray]:
        """Per-pair arrays by their stored names, float32."""
        found = {
            f"{role}.{contrast}": self.nodes.heads,
            f"{role}.layers.{contrast}": self.nodes.layers,
            f"{role}.clean.{contrast}": self.nodes.clean,
            f"{role}.corrupted.{contrast}": self.nodes.corrupted,
            f"{role}.attribution.{contrast}": self.attribution.heads,
        }
        if any(Node.parse(name).kind == "mlp" for name in self.nodes.nodes):
            found[f"{role}.mlps.{contrast}"] = self.nodes.mlps
        if self.patterns is not None and self.values is not None:
            found[f"{role}.patterns.{contrast}"] = self.patterns.layers
            found[f"{role}.values.{contrast}"] = self.values.layers
        return {name: tensor.numpy().astype(np.float32) for name, tensor in found.items()}


RoleEffects = dict[Role, dict[Contrast, ComponentEffects]]


def patch_pair(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    pairs: Mapping[Contrast, Pairs[Input]],
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> RoleEffects:
    """Effects in teacher and student; equal models are patched once."""
    known: dict[int, dict[Contrast, ComponentEffects]] = {}
    for role in PAIR:
        if id(models[role]) not in known:
            known[id(models[role])] = {
                contrast: steps.run(
                    f"effects in {role}, {contrast}",
                    pair_dependencies(models[role], readouts[role], given, config),
                    partial(_patch, models[role], readouts[role], given, config, progress, role),
                )
                for contrast, given in pairs.items()
            }
    return {role: known[id(models[role])] for role in PAIR}


def has_attention(model: PatchableModel) -> bool:
    """Whether every row has patterns and values to patch."""
    return all(row.has("pattern") for row in model.modules.layers)


def pair_dependencies(
    model: PatchableModel, readout: Readout, pairs: Pairs[Input], config: ComparisonConfig
) -> dict[str, object]:
    """What the runs of one model on pairs depend on, by names for people."""
    return {
        "model": model,
        "readout": readout,
        "data": pairs,
        "direction": config.direction,
        "batch size": config.batch_size,
    }


def _patch(
    model: PatchableModel,
    readout: Readout,
    pairs: Pairs[Input],
    config: ComparisonConfig,
    progress: Progress,
    role: Role,
) -> ComponentEffects:
    progress.stage(f"patch heads: {role}, {pairs.contrast}")
    spec = model.spec
    nodes = patch_nodes(
        model,
        pairs,
        (*spec.heads, *spec.mlps, *spec.rows),
        config.direction,
        batch_size=config.batch_size,
        readout=readout,
        progress=progress.step,
    )
    patterns = values = None
    if has_attention(model):
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
    progress.stage(f"attribute heads: {role}, {pairs.contrast}")
    attribution = attribute_heads(
        model,
        pairs,
        config.direction,
        batch_size=config.batch_size,
        readout=readout,
        progress=progress.step,
    )
    return ComponentEffects(nodes, patterns, values, attribution)
