"""Grey images of handwritten digits, and which split each of them belongs to.

Without a file they are scikit-learn's 1,797 digits of 8 x 8 pixels in 17 levels (no download),
doubled to 16 x 16 by repeating pixels. From a file they are MNIST or what is stored like it: an
`.npz` with `x_train`, `y_train`, `x_test`, `y_test`. There test is the file's own, and a training
image that occurs in it as well is left out.

Within a class the images are ranked by a hash of their pixels and cut into splits, so a split
depends neither on their order nor on the other classes, and equal images stay together. Who wrote
a digit is not known: the splits are disjoint by image, not by writer.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import accumulate, pairwise
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Integer, Shaped, UInt8

from behavior.errors import DataError
from behavior.rows import file_digest

DIGITS = range(10)
SPLITS = ("train", "validation", "test")

_EMBEDDED_SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}
_FILE_SHARES = {"train": 0.9, "validation": 0.1}
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class DigitImages:
    """Images by split and digit.

    Attributes:
        by_split: Of each split and digit, uint8 [image, height, width], 0 = background; all
            different. Digits without images are absent.
        source: Where they come from, as JSON.
    """

    by_split: Mapping[str, Mapping[int, UInt8[np.ndarray, "_image height width"]]]
    source: Mapping[str, object]


@cache
def read_digit_images(path: Path | None = None) -> DigitImages:
    """The images of a file, or scikit-learn's; read once.

    Raises:
        DataError: If the file is missing or does not hold the four arrays.
    """
    if path is None:
        images, digits = _embedded()
        by_split = _cut(images, digits, _EMBEDDED_SHARES)
        digest = blake2b(images.tobytes() + digits.tobytes(), digest_size=8).hexdigest()
        return DigitImages(by_split, {"images": "scikit-learn digits", "digest": digest})
    x_train, y_train, x_test, y_test = _load(path)
    test = _cut(x_test, y_test, {"test": 1.0})
    known = {image.tobytes() for images in test["test"].values() for image in images}
    fresh = np.array([image.tobytes() not in known for image in x_train], dtype=bool)
    by_split = {**_cut(x_train[fresh], y_train[fresh], _FILE_SHARES), **test}
    return DigitImages(by_split, {"path": str(path), "sha256": file_digest(path)})


def _embedded() -> tuple[UInt8[np.ndarray, "image height width"], Integer[np.ndarray, " image"]]:
    # scikit-learn takes a second to import.
    from sklearn.datasets import load_digits  # noqa: PLC0415

    pixels, digits = load_digits(return_X_y=True)
    levels = np.asarray(pixels).reshape(-1, 8, 8).astype(np.uint16)
    images = ((levels * 255 + 8) // 16).astype(np.uint8)
    return images.repeat(2, axis=1).repeat(2, axis=2), np.asarray(digits).astype(np.uint8)


def _load(path: Path) -> list[np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in _ARRAYS if name in stored}
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file. Check the path.") from error
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: is not an .npz of plain arrays. Save it with np.savez."
        ) from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no array {missing[0]!r}. Expected: {', '.join(_ARRAYS)}.")
    for part in ("train", "test"):
        _check(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    sizes = [list(arrays[f"x_{part}"].shape[1:]) for part in ("train", "test")]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{path}: x_train has images of {sizes[0]}, x_test of {sizes[1]}. Scale one."
        )
    return [arrays[name] for name in _ARRAYS]


def _check(path: Path, part: str, images: np.ndarray, digits: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(
            f"{path}: x_{part} is {images.dtype} {list(images.shape)}, but grey images are "
            "expected: uint8 [image, height, width]."
        )
    if not np.issubdtype(digits.dtype, np.integer) or digits.shape != images.shape[:1]:
        raise DataError(
            f"{path}: y_{part} is {digits.dtype} {list(digits.shape)}, but one integer for each "
            f"of the {len(images)} images is expected."
        )


def _cut(
    images: UInt8[np.ndarray, "image height width"],
    digits: Integer[np.ndarray, " image"],
    shares: Mapping[str, float],
) -> dict[str, dict[int, UInt8[np.ndarray, "_image height width"]]]:
    """The distinct images of each split and digit; each split has its share of every digit."""
    ends = [0.0, *accumulate(shares.values())]
    by_split: dict[str, dict[int, np.ndarray]] = {split: {} for split in shares}
    for digit in DIGITS:
        ranked = _ranked(images[digits == digit])
        for split, (start, end) in zip(shares, pairwise(ends), strict=True):
            part = ranked[round(start * len(ranked)) : round(end * len(ranked))]
            if len(part):
                by_split[split][digit] = part
    return by_split


def _ranked(
    images: UInt8[np.ndarray, "image height width"],
) -> Shaped[np.ndarray, "distinct height width"]:
    """The distinct images, in the order of their hashes."""
    places = {blake2b(image.tobytes()).digest(): i for i, image in enumerate(images)}
    return images[[places[key] for key in sorted(places)]]
