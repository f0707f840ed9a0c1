"""From images to batches of pixel values, by the model's own image processor.

Files are opened when a batch is made, one by one, so that memory does not grow with their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import BaseImageProcessor

from behavior.errors import DataError
from behavior.inputs import ImageInput, Input

_SIZES = "of different sizes"
_PROBES = ((24, 56), (40, 16))


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image that waits for its batch.

    Attributes:
        image: The file or the pixels.
        n_positions: Positions that the model makes of it.
    """

    image: ImageInput
    n_positions: int

    def __len__(self) -> int:
        return self.n_positions


class ImageEncoder:
    """An image processor with the limits of its model.

    Attributes:
        processor: The transformers image processor.
        n_positions: Positions that the model makes of an image: its patches and what is put
            before them. It decides how many images go into a batch.
        image_size: Height and width that the model takes, in pixels; None if it takes any.
        fixed_size: Height and width that the processor gives every image, in pixels; None if
            that depends on the image.
    """

    def __init__(
        self,
        processor: BaseImageProcessor,
        device: torch.device,
        dtype: torch.dtype,
        *,
        n_positions: int,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        self.processor = processor
        self.n_positions = n_positions
        self.image_size = image_size
        self.fixed_size = processed_size(processor)
        self._device = device
        self._dtype = dtype

    def encode(self, inputs: Sequence[Input]) -> list[EncodedImage]:
        """Each image as it is; nothing is opened yet.

        Raises:
            DataError: If an input is a text.
        """
        return [EncodedImage(_as_image(given), self.n_positions) for given in inputs]

    def check_lengths(self, inputs: Sequence[Input], rows: Sequence[EncodedImage]) -> None:
        """No image is too long: the processor brings it to its size."""

    def size(self, row: EncodedImage) -> tuple[int, int]:
        """Height and width of one image as the model gets it, in pixels.

        Raises:
            DataError: If the file cannot be read.
        """
        if self.fixed_size is not None:
            return self.fixed_size
        _, height, width = process(self.processor, row.image).shape
        return height, width

    def misalignment(self, rows: Sequence[EncodedImage]) -> str | None:
        """Why values cannot move between these images position by position; None if they can."""
        return _SIZES if len({self.size(row) for row in rows}) > 1 else None

    def batch(self, rows: Sequence[EncodedImage]) -> dict[str, Tensor]:
        """Keyword arguments for the model: pixel_values [batch, channel, height, width].

        Raises:
            DataError: If a file cannot be read, or an image has a size that the model does not
                take or that the others do not have.
        """
        pixels = [process(self.processor, row.image) for row in rows]
        for row, one in zip(rows, pixels, strict=True):
            self._check_size(row.image, _size(one), rows[0].image, _size(pixels[0]))
        values = torch.from_numpy(np.stack(pixels))
        return {"pixel_values": values.to(self._device, self._dtype)}

    def _check_size(
        self,
        image: ImageInput,
        size: tuple[int, int],
        first_image: ImageInput,
        first_size: tuple[int, int],
    ) -> None:
        if self.image_size is not None and size != self.image_size:
            raise DataError(
                f"{image!r} comes out of the image processor with {show_size(size)}, but the "
                f"model takes {show_size(self.image_size)}. Set size in preprocessor_config.json."
            )
        if size != first_size:
            raise DataError(
                f"{first_image!r} and {image!r} come out of the image processor with "
                f"{show_size(first_size)} and {show_size(size)}, but the images of a batch need "
                "one size. Set height and width as size in preprocessor_config.json."
            )


def processed_size(processor: BaseImageProcessor) -> tuple[int, int] | None:
    """Height and width that a processor gives every image, in pixels.

    Two blank images of different shapes are tried.

    Returns:
        None if the size depends on the image.

    Raises:
        DataError: If the processor does not work.
    """
    blanks = (ImageInput(np.zeros((*shape, 3), dtype=np.uint8)) for shape in _PROBES)
    first, second = (_size(process(processor, blank)) for blank in blanks)
    return first if first == second else None


def process(
    processor: BaseImageProcessor, image: ImageInput
) -> Float32[np.ndarray, "channel height width"]:
    """One image as the processor of its model gives it.

    Raises:
        DataError: If the file cannot be read, or the processor cannot work on it.
    """
    pixels = image.pixels()
    try:
        # The format is told: an image that is 3 pixels high could be taken for one of 3 channels.
        made = processor(images=pixels, return_tensors="np", input_data_format="channels_last")
    except (KeyError, MemoryError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{image!r}: the image processor cannot work on it ({reason}). Check the image and "
            "preprocessor_config.json."
        ) from error
    return np.asarray(made["pixel_values"][0], dtype=np.float32)


def show_size(size: tuple[int, int]) -> str:
    """A height and a width, for messages."""
    return f"{size[0]} x {size[1]} pixels"


def _size(pixels: Float32[np.ndarray, "channel height width"]) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[2]


def _as_image(given: Input) -> ImageInput:
    if not isinstance(given, ImageInput):
        raise DataError(
            "An input is a text, but the model reads images. Give it images, or open a text model."
        )
    return given
