"""What reaches each reader of a plant while it is written, and what scales follow from that."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from circuits.graph import Graph
from circuits.plants.blocks import Blocks, random_normal
from circuits.plants.language import draw_words, seeded
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import Scaffold
from circuits.plants.wiring import Wiring, is_input, words_of
from patching.models.nodes import Activation
from patching.models.rows import LayerModules

_INPUTS = 192
_NOTHING = 1e-8
"""Of the length that a word has: less is no signal."""


class Calibration:
    """Runs some inputs through what is written so far.

    Args:
        scaffold: The model.
        graph: Of it.
        recipe: Of the plant.
        wiring: Of the plant.
        blocks: Of the plant.
        seed: Of the plant.
    """

    def __init__(
        self,
        scaffold: Scaffold,
        graph: Graph,
        recipe: Recipe,
        wiring: Wiring,
        blocks: Blocks,
        seed: int,
    ) -> None:
        self.model = scaffold.model
        self.graph = graph
        self.recipe = recipe
        self.wiring = wiring
        self.blocks = blocks
        self.seed = seed
        self.unit = scaffold.unit(recipe.ballast)
        self.misleading = wiring.misleading()
        self.sizes: dict[str, float] = {}
        words = draw_words(_INPUTS, seeded(seed, "calibration"))
        self.batch = self.model.encoder.batch(self.model.encode(scaffold.inputs(words)))

    def record(self, row: LayerModules, *activations: Activation) -> list[Tensor]:
        """Some activations of a row."""
        sites = [row.site(activation) for activation in activations]
        with self.model.hooks.reading(sites) as values:
            self.model.forward(self.batch)
        return [values[site] for site in sites]

    def read(
        self, reader: str, width: int, stream: Float[Tensor, "*batch d_model"]
    ) -> tuple[Float[Tensor, "width d_model"], Float[Tensor, " width"]]:
        """W and b with which a reader sees its blocks, and the rest faintly, with variance 1."""
        weight = torch.zeros(width, self.recipe.d_model, dtype=torch.float64)
        for name, scale in self.scales(reader, stream).items():
            basis = self.blocks[name]
            random = random_normal(self.seed, f"{reader}|{name}", (width, basis.shape[1]))
            weight += scale * random @ basis.T
        return weight, -weight @ stream.flatten(end_dim=-2).mean(dim=0)

    def scales(
        self, reader: str, stream: Float[Tensor, "*batch d_model"], n_taps: int = 1
    ) -> dict[str, float]:
        """By what normal numbers are multiplied, for each block, so that together they give 1.

        Args:
            reader: Who reads.
            stream: What it reads.
            n_taps: Positions that it reads of each channel.
        """
        own = self.wiring.of(reader)
        n_counted = max(len(set(own) - self.misleading), 1)
        shares = dict.fromkeys(own, 1.0)
        if self.recipe.background and own:
            others = (name for name in self._seen(reader) if name not in {*own, *self.misleading})
            shares |= dict.fromkeys(others, self.recipe.background)
        mean = stream.flatten(end_dim=-2).mean(dim=0)
        found: dict[str, float] = {}
        for name, share in shares.items():
            basis = self.blocks[name]
            seen = (stream - mean) @ basis
            size = self.sizes.get(name) or float(seen.square().mean().sqrt())
            if size > _NOTHING * self.recipe.seen:
                counted = 1 if name in self.misleading else n_counted
                found[name] = share / (sqrt(basis.shape[1] * n_taps * counted) * size)
        return found

    def scale(self, written: Float[Tensor, "token block"]) -> float:
        """By what an output is multiplied to be as long as the recipe says; 0 if it is constant."""
        length = float((written - written.mean(dim=0)).square().sum(dim=1).mean().sqrt())
        return self.recipe.size * self.unit / length if length > _NOTHING else 0.0

    def strength(self, values: Tensor, size: float) -> float:
        """By what values are multiplied to have this root mean square; 0 if there are none."""
        found = float(values.square().mean().sqrt())
        return size / found if found > _NOTHING else 0.0

    def twin(self, head: str) -> str:
        """Rivals read with the same matrices: those of the first of them."""
        return next((first for first, second in self.wiring.rivals if second == head), head)

    def _seen(self, reader: str) -> list[str]:
        """All blocks that a reader could see."""
        row = self.graph.mask[self.graph.readers.index(reader)].tolist()
        names: dict[str, None] = {}
        for writer, sees in zip(self.graph.writers, row, strict=True):
            if sees:
                found = words_of(writer) if is_input(writer) else (self.wiring.blocks[writer],)
                names |= dict.fromkeys(found)
        return list(names)
