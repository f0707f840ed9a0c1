"""Writes the weights of a plant, row by row, each scaled by what reaches it.

A reader sees each of its blocks through a random matrix of its own, and nothing else. Blocks of the
circuit share a variance of 1; those that mislead have as much each. Its bias takes the mean away.
Random matrices are found by the names of reader and block: cutting one edge leaves all others as
they were.
"""

from dataclasses import dataclass, field
from math import sqrt

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import PARTS, Graph
from circuits.plants.blocks import Blocks, make_blocks, random_normal
from circuits.plants.language import draw_words, make_vocabulary, seeded
from circuits.plants.recipe import Recipe
from circuits.plants.scaffolds import CLASSES, Scaffold
from circuits.plants.weights import bias_of, head_reader, head_writer, matrix_of, write
from circuits.plants.wiring import INPUT, Wiring
from patching.models.model import PatchableModel
from patching.models.nodes import Activation
from patching.models.rows import LayerModules

_CALIBRATION = 192
_NOTHING = 1e-8
"""Of the length that a word has: less is no signal."""


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
    _sizes: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        self.model: PatchableModel = self.scaffold.model
        self.unit = self.scaffold.unit(self.recipe.ballast)
        self.blocks = blocks_of(self.recipe, self.wiring, self.seed)
        self.names = list(dict.fromkeys((*INPUT, *self.wiring.blocks.values())))
        self.misleading = self.wiring.misleading()
        self.batch = self._calibration()

    @torch.no_grad()
    def build(self) -> None:
        """Write all weights."""
        vocabulary = make_vocabulary(self.recipe, self.blocks, self.seed)
        self.scaffold.embed(vocabulary, self.recipe.ballast * self.blocks.ballast)
        for row in self.model.modules.layers:
            self._read_heads(row)
            self._write_heads(row)
            if row.mlp is not None:
                self._write_mlp(row)
        self._read_out()

    def _calibration(self) -> dict[str, Tensor]:
        words = draw_words(_CALIBRATION, seeded(self.seed, "calibration"))
        inputs = self.scaffold.inputs(words)
        return self.model.encoder.batch(self.model.encode(inputs))

    def _record(self, row: LayerModules, *activations: Activation) -> list[Tensor]:
        sites = [row.site(activation) for activation in activations]
        with self.model.hooks.reading(sites) as values:
            self.model.forward(self.batch)
        return [values[site] for site in sites]

    def _reader(
        self, reader: str, width: int, stream: Float[Tensor, "*batch d_model"]
    ) -> tuple[Float[Tensor, "width d_model"], Float[Tensor, " width"]]:
        """W and b with which a reader sees its blocks, and the rest faintly, with variance 1."""
        own = self.wiring.of(reader)
        n_counted = max(len(set(own) - self.misleading), 1)
        shares = dict.fromkeys(own, 1.0)
        if self.recipe.background and own:
            others = (name for name in self.names if name not in (*own, *self.misleading))
            shares |= dict.fromkeys(others, self.recipe.background)
        mean = stream.flatten(end_dim=-2).mean(dim=0)
        weight = torch.zeros(width, self.recipe.d_model, dtype=torch.float64)
        for name, share in shares.items():
            basis = self.blocks[name]
            seen = (stream - mean) @ basis
            size = self._sizes.get(name) or float(seen.square().mean().sqrt())
            if size > _NOTHING * sqrt(self.recipe.d_model) / self.recipe.ballast:
                shape = (width, basis.shape[1])
                random = random_normal(self.seed, f"{reader}|{name}", shape)
                counted = 1 if name in self.misleading else n_counted
                scale = share / (sqrt(shape[1] * counted) * size)
                weight += scale * random @ basis.T
        return weight, -weight @ mean

    def _read_heads(self, row: LayerModules) -> None:
        (stream,) = self._record(row, "resid_pre")
        if self.model.architecture.layout == "pre-norm":
            stream = row.norm(stream)
        for head in range(row.n_heads):
            # Rivals read with the same matrices, those of the first of them.
            same = self._twin(f"{row.name}.h{head}")
            for part in PARTS:
                weight, bias = head_reader(row, part, head)
                found = self._reader(f"{same}<{part}>", row.d_head, stream)
                weight.copy_(found[0])
                bias.copy_(found[1])
        query, key = self._record(row, "q", "k")
        scores = torch.einsum("bqhd,bkhd->hbqk", query, key) / sqrt(row.d_head)
        scores = scores - scores.mean(dim=-1, keepdim=True)
        for head, found in enumerate(scores.square().mean(dim=(1, 2, 3)).sqrt().tolist()):
            if found > _NOTHING:
                for part in ("q", "k"):
                    for values in head_reader(row, part, head):
                        values.mul_(sqrt(self.recipe.tau / found))

    def _twin(self, head: str) -> str:
        return next((first for first, second in self.wiring.rivals if second == head), head)

    def _write_heads(self, row: LayerModules) -> None:
        (z,) = self._record(row, "z")
        mean = torch.zeros(self.recipe.d_model, dtype=torch.float64)
        for head in range(row.n_heads):
            name = f"{row.name}.h{head}"
            twin = self._twin(name)
            block = self.wiring.blocks[name]
            shape = (self.recipe.head_block, row.d_head)
            random = random_normal(self.seed, f"{twin}|writes", shape)
            written = rearrange(z[:, :, head] @ random.T, "b pos d -> (b pos) d")
            scale = self._scale(written)
            weight = (scale if twin == name else -scale) * self.blocks[block] @ random
            head_writer(row, head).copy_(weight)
            mean += weight @ z[:, :, head].flatten(end_dim=1).mean(dim=0)
            if twin != name:
                self._sizes[block] = self._seen_size(row, self.recipe.head_block)
        bias_of(row.o).copy_(-mean)

    def _scale(self, written: Float[Tensor, "token block"]) -> float:
        """By what an output is multiplied to be as long as the recipe says; 0 if it is constant."""
        length = float((written - written.mean(dim=0)).square().sum(dim=1).mean().sqrt())
        return self.recipe.size * self.unit / length if length > _NOTHING else 0.0

    def _seen_size(self, row: LayerModules, width: int) -> float:
        """Root mean square of what one of two rivals writes, as later readers would see it."""
        size = self.recipe.size * self.unit / sqrt(width)
        if self.model.architecture.layout == "pre-norm":
            (stream,) = self._record(row, "resid_pre")
            size *= sqrt(self.recipe.d_model) / float(stream.square().sum(dim=-1).mean().sqrt())
        return size

    def _write_mlp(self, row: LayerModules) -> None:
        name = str(row.mlp_node)
        stream, written = self._record(row, "resid_pre", "attn_out")
        norm = row.mlp_norm if self.model.architecture.layout == "pre-norm" else row.norm
        assert norm is not None, "transformers have norms"
        stream = norm(stream + written)
        first, second = self.scaffold.mlp(row)
        width = len(matrix_of(first))
        if name in self.wiring.even:
            self._write_even(first, stream, width)
        else:
            weight, bias = self._reader(name, width, stream)
            strength = self._strength(stream, weight, bias)
            write(first, strength * weight, strength * bias)
        hidden = self.scaffold.hidden(row, stream).flatten(end_dim=1)
        outer = random_normal(self.seed, f"{name}|writes", (self.recipe.mlp_block, width))
        if name in self.wiring.even:
            outer[:, width // 2 :] = outer[:, : width // 2]
        weight = self._scale(hidden @ outer.T) * self.blocks[self.wiring.blocks[name]] @ outer
        write(second, weight, -weight @ hidden.mean(dim=0))

    def _strength(self, stream: Tensor, weight: Tensor, bias: Tensor) -> float:
        size = float((stream @ weight.T + bias).square().mean().sqrt())
        return self.recipe.pre / size if size > _NOTHING else 0.0

    def _write_even(self, module: nn.Module, stream: Tensor, width: int) -> None:
        """Hidden units in pairs w and -w on a class, half of them on the core's."""
        half = width // 2
        steepness = random_normal(self.seed, "even", (half,)).abs() + 1
        weight = torch.zeros(width, self.recipe.d_model, dtype=torch.float64)
        for i, kind in enumerate(INPUT[:2]):
            axis = self.blocks[kind][:, 0]
            scale = self.recipe.pre / float((stream @ axis).abs().max())
            weight[i:half:2] = scale * steepness[i::2, None] * axis
        weight[half:] = -weight[:half]
        write(module, weight)

    def _read_out(self) -> None:
        last = self.model.modules.layers[-1]
        (stream,) = self._record(last, "resid_post")
        seen = self.scaffold.last(stream)
        width = self.recipe.d_model
        weight, bias = self._reader("logits", width, seen)
        size = float((seen @ weight.T + bias).square().mean().sqrt())
        strength = self.recipe.kappa / size if size > _NOTHING else 0.0
        shape = (len(CLASSES), width)
        answers = random_normal(self.seed, "answers", shape) * self.recipe.readout / sqrt(width)
        self.scaffold.read_out(strength * weight, strength * bias, answers)


def blocks_of(recipe: Recipe, wiring: Wiring, seed: int) -> Blocks:
    """The part of the stream that each writer of a plant has for itself."""
    widths: dict[str, int] = dict.fromkeys(INPUT, recipe.embedding_block)
    for block in wiring.blocks.values():
        widths[block] = recipe.head_block if ".h" in block else recipe.mlp_block
    return make_blocks(recipe.d_model, widths, seed)
