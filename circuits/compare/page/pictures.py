"""How inputs are stored for the page: texts as they are, images small enough to be shown.

An image becomes a PNG in a data URI of at most 160 pixels a side, so that the page can be drawn
from the result alone, without a network and without the file.
"""

import re

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from behavior.images import encode_data_uri
from behavior.inputs import ImageInput, Input
from circuits.compare.page.markup import escape

LARGEST = 160
"""Pixels of the longer side of an image on the page."""

_DATA_URI = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")


def describe_input(given: Input) -> dict[str, str]:
    """An input as it is stored: its texts, or its small image and, for a file, the path."""
    if not isinstance(given, ImageInput):
        return given.to_json()
    stored = {"image": encode_data_uri(shrink(given.pixels()))}
    name = given.to_json()["image"]
    return stored if name.startswith("data:") else {**stored, "path": name}


def shrink(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image with its longer side scaled down to `LARGEST`; smaller ones stay as they are."""
    if max(pixels.shape[:2]) <= LARGEST:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST, LARGEST))
    return np.asarray(image)


def picture(uri: str, label: str) -> str:
    """An image as HTML; anything but a PNG in a data URI stays text."""
    if _DATA_URI.fullmatch(uri) is None:
        return escape(uri)
    return f'<img class="input" src="{uri}" alt="{escape(label)}">'
