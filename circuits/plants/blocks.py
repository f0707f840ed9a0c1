"""Parts of the stream that belong to one writer each, and randomness that is found by name.

In a transformer all blocks are orthogonal to each other, to the vector of ones (so that no norm's
centring mixes them) and to the ballast. The ballast lies in the first two coordinates, where no
block has anything: large and small numbers never meet in a sum. In a ResNet, whose norms and ReLUs
act on each channel by itself, a block is some channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from zlib import crc32

import torch
from jaxtyping import Float
from torch import Tensor

BALLAST_COORDINATES = 2


@dataclass(frozen=True)
class Blocks:
    """Orthonormal bases of subspaces of the stream.

    Attributes:
        ballast: Unit vector of the constant part.
        bases: By name of the block.
    """

    ballast: Float[Tensor, " d_model"]
    bases: Mapping[str, Float[Tensor, "d_model block"]]

    def __getitem__(self, name: str) -> Float[Tensor, "d_model block"]:
        return self.bases[name]

    def also(self, names: Mapping[str, str]) -> "Blocks":
        """The same with further names: new name -> old name."""
        found = {new: self.bases[old] for new, old in names.items()}
        return Blocks(self.ballast, {**self.bases, **found})


def make_blocks(d_model: int, widths: Mapping[str, int], seed: int) -> Blocks:
    """Random blocks of these widths.

    Args:
        d_model: Width of the stream.
        widths: Dimensions of each block, by name.
        seed: Of the plant.
    """
    free = d_model - BALLAST_COORDINATES
    square = random_normal(seed, "blocks", (free, free))
    square[:, 0] = 1
    basis, _ = torch.linalg.qr(square)
    padded = torch.zeros(d_model, free, dtype=torch.float64)
    padded[BALLAST_COORDINATES:] = basis
    bases: dict[str, Tensor] = {}
    start = 1
    for name, width in widths.items():
        bases[name] = padded[:, start : start + width]
        start += width
    ballast = torch.zeros(d_model, dtype=torch.float64)
    ballast[:BALLAST_COORDINATES] = torch.tensor([1.0, -1.0]) / sqrt(BALLAST_COORDINATES)
    return Blocks(ballast, bases)


def take_channels(d_model: int, widths: Mapping[str, int]) -> Blocks:
    """Blocks that are channels of their own, one after the other; there is no ballast.

    Args:
        d_model: Channels in all.
        widths: Channels of each block, by name.
    """
    bases: dict[str, Tensor] = {}
    channels = torch.eye(d_model, dtype=torch.float64)
    start = 0
    for name, width in widths.items():
        bases[name] = channels[:, start : start + width]
        start += width
    return Blocks(torch.zeros(d_model, dtype=torch.float64), bases)


def generator(seed: int, name: str) -> torch.Generator:
    """Randomness that depends on the seed and a name only, not on what was drawn before."""
    return torch.Generator().manual_seed(crc32(f"{seed}|{name}".encode()))


def random_normal(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers of this name."""
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed, name))
