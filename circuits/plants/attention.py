"""Writes rows of attention heads, and the MLPs that follow them."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import PARTS
from circuits.plants.blocks import random_normal
from circuits.plants.calibration import Calibration
from circuits.plants.scaffolds import Transformer
from circuits.plants.weights import bias_of, has_bias, head_rows, head_writer, matrix_of, write
from circuits.plants.wiring import INPUT
from patching.models.rows import LayerModules

_NOTHING = 1e-8


class AttentionRows:
    """Writes rows of a transformer, in order.

    Args:
        calibration: Of the plant.
        scaffold: The model.
    """

    def __init__(self, calibration: Calibration, scaffold: Transformer) -> None:
        self.calibration = calibration
        self.scaffold = scaffold
        self.recipe = calibration.recipe
        self.wiring = calibration.wiring
        self.blocks = calibration.blocks
        self.seed = calibration.seed
        self.pre_norm = scaffold.model.architecture.layout == "pre-norm"

    def write(self, row: LayerModules) -> None:
        """Write one row."""
        self._read_heads(row)
        self._write_heads(row)
        if row.mlp is not None:
            self._write_mlp(row)

    def _read_heads(self, row: LayerModules) -> None:
        streams = self._streams(row)
        for head in range(row.n_heads):
            same = self.calibration.twin(f"{row.name}.h{head}")
            for part in PARTS:
                found = self.calibration.read(f"{same}<{part}>", row.d_head, streams[part])
                self._set(*head_rows(row, part, head), *found, streams[part])
        query, key = self.calibration.record(row, "q", "k")
        scores = torch.einsum("bqhd,bkhd->hbqk", query, key) * self.scaffold.scaling(row)
        scores = scores - scores.mean(dim=-1, keepdim=True)
        for head, found in enumerate(scores.square().mean(dim=(1, 2, 3)).sqrt().tolist()):
            if found > _NOTHING:
                for part in ("q", "k"):
                    self._multiply(*head_rows(row, part, head), (self.recipe.tau / found) ** 0.5)

    def _streams(self, row: LayerModules) -> dict[str, Float[Tensor, "batch pos d_model"]]:
        """What q, k and v are made from."""
        (stream,) = self.calibration.record(row, "resid_pre")
        own = row.norm(stream) if self.pre_norm else stream
        other = self._encoded() if row.stack.endswith(".x") else own
        return {"q": own, "k": other, "v": other}

    def _encoded(self) -> Float[Tensor, "batch pos d_model"]:
        modules = self.scaffold.model.modules
        ((stack, norm),) = modules.final_norms.items()
        last = [row for row in modules.layers if row.stack == stack][-1]
        return norm(*self.calibration.record(last, "resid_post"))

    def _set(
        self, module: nn.Module, rows: slice, weight: Tensor, bias: Tensor, stream: Tensor
    ) -> None:
        """Set some rows of W and b; without a b, the constant is read from the ballast."""
        if has_bias(module):
            bias_of(module)[rows] = bias
        else:
            weight = weight + self._from_ballast(bias, stream)
        matrix_of(module)[rows] = weight

    def _multiply(self, module: nn.Module, rows: slice, factor: float) -> None:
        matrix_of(module)[rows] *= factor
        if has_bias(module):
            bias_of(module)[rows] *= factor

    def _from_ballast(
        self, constant: Float[Tensor, " out"], stream: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "out d_model"]:
        ballast = self.blocks.ballast
        return torch.outer(constant / float((stream @ ballast).mean()), ballast)

    def _write_heads(self, row: LayerModules) -> None:
        (z,) = self.calibration.record(row, "z")
        mean = torch.zeros(self.recipe.d_model, dtype=torch.float64)
        for head in range(row.n_heads):
            name = f"{row.name}.h{head}"
            twin = self.calibration.twin(name)
            block = self.wiring.blocks[name]
            shape = (self.recipe.head_block, row.d_head)
            random = random_normal(self.seed, f"{twin}|writes", shape)
            written = rearrange(z[:, :, head] @ random.T, "b pos d -> (b pos) d")
            scale = self.calibration.scale(written)
            weight = (scale if twin == name else -scale) * self.blocks[block] @ random
            head_writer(row, head).copy_(weight)
            mean += weight @ z[:, :, head].flatten(end_dim=1).mean(dim=0)
            if twin != name:
                self.calibration.sizes[block] = self._seen_size(row, self.recipe.head_block)
        if has_bias(row.o):
            bias_of(row.o).copy_(-mean)

    def _seen_size(self, row: LayerModules, width: int) -> float:
        """Root mean square of what one of two rivals writes, as later readers would see it."""
        size = self.recipe.size * self.calibration.unit / width**0.5
        if self.pre_norm:
            (stream,) = self.calibration.record(row, "resid_pre")
            length = float(stream.square().sum(dim=-1).mean().sqrt())
            size *= self.recipe.d_model**0.5 / length
        return size

    def _write_mlp(self, row: LayerModules) -> None:
        name = str(row.mlp_node)
        stream, written = self.calibration.record(row, "resid_pre", "attn_out")
        norm = row.mlp_norm if self.pre_norm else row.norm
        assert norm is not None, "transformers have norms"
        stream = norm(stream + written)
        first, second = self.scaffold.mlp(row)
        width = len(matrix_of(first))
        if name in self.wiring.even:
            self._write_even(first, stream, width)
        else:
            weight, bias = self.calibration.read(name, width, stream)
            values = stream @ weight.T + bias
            strength = self.calibration.strength(values, self.recipe.pre)
            self._set(first, slice(None), strength * weight, strength * bias, stream)
        hidden = self.scaffold.hidden(row, stream).flatten(end_dim=1)
        outer = random_normal(self.seed, f"{name}|writes", (self.recipe.mlp_block, width))
        if name in self.wiring.even:
            outer[:, width // 2 :] = outer[:, : width // 2]
        scale = self.calibration.scale(hidden @ outer.T)
        weight = scale * self.blocks[self.wiring.blocks[name]] @ outer
        write(second, weight, -weight @ hidden.mean(dim=0))

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
