"""What every encoder of inputs offers, whether these are texts or images."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

from behavior.inputs import Input
from patching.models.encoding import Encoded
from patching.models.image_encoding import EncodedImage

EncodedInput = Encoded | EncodedImage
"""One input as an encoder keeps it; its length is its number of positions."""

EncodedT = TypeVar("EncodedT", bound=EncodedInput)


@runtime_checkable
class Encoder(Protocol[EncodedT]):
    """Inputs as batches of one model."""

    def encode(self, inputs: Sequence[Input]) -> list[EncodedT]:
        """Each input as it is kept between batches.

        Raises:
            DataError: If an input is of a kind that the model does not read.
        """
        ...

    def check_lengths(self, inputs: Sequence[Input], rows: Sequence[EncodedT]) -> None:
        """Refuse rows that are longer than the model takes.

        Raises:
            DataError: If there is one.
        """
        ...

    def misalignment(self, rows: Sequence[EncodedT]) -> str | None:
        """Why values cannot move between these inputs position by position; None if they can."""
        ...

    def batch(self, rows: Sequence[EncodedT]) -> dict[str, Tensor]:
        """Keyword arguments for the model."""
        ...
