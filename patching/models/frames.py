"""What surrounds the stream in a module's output, so that a value can stand in for it.

Some layers return a tuple whose first entry is the stream (T5: the position biases follow, which
later layers share), and those of a ResNet an image.
"""

from dataclasses import dataclass
from typing import Any, cast

from einops import rearrange
from torch import Tensor, nn

from patching.models.nodes import Site


@dataclass(frozen=True, slots=True)
class Frame:
    """Surroundings of the stream in one module's output.

    Attributes:
        rest: Further entries of a tuple; None if the output is a tensor.
        shape: Of the tensor.
    """

    rest: tuple[Any, ...] | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, output: object) -> "Frame":
        """The frame of an output."""
        if isinstance(output, tuple):
            first, *rest = cast("tuple[Any, ...]", output)
            return cls(tuple(rest), tuple(first.shape))
        return cls(None, tuple(cast(Tensor, output).shape))

    def around(self, value: Tensor) -> Any:
        """An output with this value in place of the recorded one.

        Args:
            value: [batch, pos, d_model]. An image becomes a tensor of its own, because a block of
                a ResNet adds to it in place.
        """
        if len(self.shape) == 4:
            height, width = self.shape[2:]
            value = rearrange(value, "b (h w) c -> b c h w", h=height, w=width).clone()
        return value if self.rest is None else (value, *self.rest)


class Recording(dict[Site, Tensor]):
    """Values of whole sites, and frames of modules where they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: dict[nn.Module, Frame] = {}
