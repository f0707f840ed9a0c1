"""Writes the weights of a plant, row by row, each scaled by what reaches it.

A reader sees each of its blocks through a random matrix of its own, and nothing else. Blocks of the
circuit share a variance of 1; those that mislead have as much each. Its bias takes the mean away.
Random matrices are found by the names of reader and block: cutting one edge leaves all others as
they were. How rows are written depends on what they are made of: `circuits.plants.attention`,
`circuits.plants.convnets`.
"""

from dataclasses import dataclass

import torch

from circuits.graph import Graph
from circuits.plants.attention import AttentionRows
from circuits.plants.blocks import Blocks, make_blocks, random_normal, take_channels
from circuits.plants.calibration import Calibration
from circuits.plants.convnets import ConvolutionRows
from circuits.plants.language import make_vocabulary
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import CLASSES, Scaffold, Transformer
from circuits.plants.wiring import INPUT, Wiring, inputs_of, is_head, words_of


@dataclass
class Builder:
    """Writes one plant.

    Attributes:
        scaffold: The model; whatever was written before is written again.
        graph: Of it.
        recipe: Of the plant.
        wiring: Of the plant.
        seed: Of the plant.
    """

    scaffold: Scaffold
    graph: Graph
    recipe: Recipe
    wiring: Wiring
    seed: int

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.recipe, self.wiring, self.seed)
        for writer in inputs_of(self.graph):
            shared = dict(zip(words_of(writer), INPUT, strict=True))
            self.blocks = self.blocks.also(shared)
        self.calibration = Calibration(
            self.scaffold, self.graph, self.recipe, self.wiring, self.blocks, self.seed
        )

    @torch.no_grad()
    def build(self) -> None:
        """Write all weights."""
        vocabulary = make_vocabulary(self.recipe, self.blocks, self.seed)
        self.scaffold.embed(vocabulary, self.recipe.ballast * self.blocks.ballast)
        if isinstance(self.scaffold, Transformer):
            rows = AttentionRows(self.calibration, self.scaffold)
        else:
            rows = ConvolutionRows(self.calibration)
        for row in self.scaffold.model.modules.layers:
            rows.write(row)
        self._read_out()

    def _read_out(self) -> None:
        last = self.scaffold.model.modules.layers[-1]
        (stream,) = self.calibration.record(last, "resid_post")
        seen = self.scaffold.last(stream)
        width = self.recipe.d_model
        weight, bias = self.calibration.read("logits", width, seen)
        strength = self.calibration.strength(seen @ weight.T + bias, self.recipe.kappa)
        shape = (len(CLASSES), width)
        answers = random_normal(self.seed, "answers", shape) * self.recipe.readout / width**0.5
        self.scaffold.read_out(strength * weight, strength * bias, answers)


def blocks_of(recipe: Recipe, wiring: Wiring, seed: int) -> Blocks:
    """The part of the stream that each writer of a plant has for itself."""
    widths: dict[str, int] = dict.fromkeys(INPUT, recipe.embedding_block)
    for block in wiring.blocks.values():
        widths[block] = recipe.head_block if is_head(block) else recipe.mlp_block
    if recipe.family == "resnet":
        return take_channels(recipe.d_model, widths)
    return make_blocks(recipe.d_model, widths, seed)
