"""Image files as arrays of RGB pixels, or one line that says why not.

Images become RGB the way transformers' `load_image` does it, so that a model sees what its own
pipeline would show it: the EXIF orientation is applied, greyscale and palette images get three
channels, transparency is dropped, and of an animation the first frame is taken. Pixels of 16 bits
or of floats are refused, because their conversion would clip them without a word.
"""

import warnings
from base64 import b64decode, b64encode
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from behavior.errors import DataError

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""

# Others, such as EPS, are drawn by programs that Pillow would start.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_DEEP_MODES = ("I", "F")
_DATA_URI = "data:image/"


def read_pixels(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Red, green and blue of each pixel of an image file.

    Raises:
        DataError: If the file is missing, corrupt, too large, not an image, or of deep pixels.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the file.") from error
    with stream:
        return _decode(stream, str(path))


def encode_data_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """The image as a PNG in a data URI, which browsers show."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return f"{_DATA_URI}png;base64,{b64encode(stream.getvalue()).decode()}"


def is_data_uri(text: str) -> bool:
    """Whether this is an image and not the path of one."""
    return text.startswith(_DATA_URI)


def decode_data_uri(text: str) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels in a data URI.

    Raises:
        DataError: If it holds no image.
    """
    try:
        data = b64decode(text.partition(";base64,")[2], validate=True)
    except ValueError as error:
        raise DataError(f"A data URI is not base64 ({error}). Encode it again.") from error
    return _decode(BytesIO(data), "A data URI")


def _decode(stream: BufferedReader | BytesIO, name: str) -> UInt8[np.ndarray, "height width 3"]:
    try:
        image = _open(stream)
        _check(image, name)
        upright = ImageOps.exif_transpose(image)
        # A palette with transparency goes by way of RGBA, or Pillow warns; the colours are equal.
        direct = "transparency" not in upright.info
        return np.array((upright if direct else upright.convert("RGBA")).convert("RGB"))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name}: is not an image. Expected one of: {', '.join(_FORMATS)}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(name)) from error
    except Exception as error:
        # What Pillow raises on a broken file depends on the format and on where it is broken.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{name}: the image is corrupt ({reason}). Save it again.") from error


def _open(stream: BufferedReader | BytesIO) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(stream, formats=_FORMATS)


def _check(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DataError(_too_large(name))
    if image.mode.partition(";")[0] in _DEEP_MODES:
        raise DataError(
            f"{name}: has deep pixels (mode {image.mode}), but 8 bits a channel are expected. "
            "Save it as 8-bit RGB or greyscale."
        )


def _too_large(name: str) -> str:
    return f"{name}: has more than {MAX_PIXELS / 1e6:.0f} megapixels. Scale it down."
