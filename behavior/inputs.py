"""What a model reads: a text, a premise with its hypothesis, or an image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from typing_extensions import TypeVar

from behavior.errors import DataError
from behavior.images import encode_data_uri, read_pixels


@dataclass(frozen=True, slots=True)
class TextInput:
    """One text, or a premise with its hypothesis.

    Attributes:
        text: The text, or the premise.
        hypothesis: None for a single text.
    """

    text: str
    hypothesis: str | None = None

    def __post_init__(self) -> None:
        if not self.text.strip() or (self.hypothesis is not None and not self.hypothesis.strip()):
            raise DataError("An input is empty. Every text, premise and hypothesis needs words.")

    @property
    def premise(self) -> str:
        """The first text."""
        return self.text

    def to_json(self) -> dict[str, str]:
        """The form used in JSONL files: premise and hypothesis, or text."""
        if self.hypothesis is None:
            return {"text": self.text}
        return {"premise": self.text, "hypothesis": self.hypothesis}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ImageInput:
    """One RGB image: a file, opened each time its pixels are asked for, or pixels in memory.

    Two are equal if they have the same path, or the same pixels in memory.

    Attributes:
        source: Path of the file, or uint8 [height, width, 3], of which a read-only copy is kept.
    """

    source: Path | np.ndarray

    def __post_init__(self) -> None:
        if isinstance(self.source, Path):
            return
        given = self.source
        if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
            raise DataError(
                f"An image is {given.dtype} {list(given.shape)}, but uint8 [height, width, 3] in "
                "RGB order is expected. Convert it first."
            )
        pixels = given.copy(order="C")
        pixels.setflags(write=False)
        object.__setattr__(self, "source", pixels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageInput) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if isinstance(self.source, Path):
            return f"ImageInput({str(self.source)!r})"
        height, width, _ = self.source.shape
        return f"ImageInput(<{height} x {width} pixels>)"

    def pixels(self) -> UInt8[np.ndarray, "height width 3"]:
        """Red, green and blue of each pixel; in-memory pixels are read-only.

        Raises:
            DataError: If the file is missing, corrupt, too large or not an image.
        """
        return read_pixels(self.source) if isinstance(self.source, Path) else self.source

    def to_json(self) -> dict[str, str]:
        """The form used in JSONL files: the path, or the pixels as a PNG in a data URI."""
        if isinstance(self.source, Path):
            return {"image": str(self.source)}
        return {"image": encode_data_uri(self.source)}

    def _key(self) -> tuple[object, ...]:
        if isinstance(self.source, Path):
            return (self.source,)
        return (self.source.shape, self.source.tobytes())


Input = TextInput | ImageInput

InputT_co = TypeVar("InputT_co", bound=Input, default=TextInput, covariant=True)
"""Kind of the inputs of an example, quad, pairs or task; text where nothing is said."""
