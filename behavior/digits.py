"""Handwritten digits in colours that can be made to go with them: quads of digit x colour.

1. The digit is the core feature, the colour of its ink the shortcut. Every class has a colour of
   its own. A and N of a quad show one image of the label's digit, C and L one of the foil's; A
   and C are in the label's colour, N and L in the foil's.
2. A pixel is the grey image times a colour, on black. A small random shift of the colour is drawn
   once per quad and is the same in its four cells, so that A and C (N and L) have the same ink,
   and A and N (C and L) the same digit, down to the same set of inked pixels.
3. The ten colours are equally bright (luma 128), so that a model that sees in black and white
   does not see the shortcut.
4. Training mixes the cells: in a share rho of the items the colour is that of the label (A and
   L), in the rest that of another class (C and N).
5. Splits are disjoint by source image. Labels and foils take the classes in turn, so that every
   pair of classes is as frequent as any other, and an image comes back only after all others of
   its class and split were used: of scikit-learn's digits, the first 260 quads of ten classes
   show no image twice. Where more are asked for, intervals speak of these images alone.
6. Item i is a function of (seed, split, i) alone, the same on every machine.

What has to be at chance, as the tests prove it: what the colour of the ink tells (its mean RGB,
weighted by the ink) about A against C and N against L, and what a black-and-white image tells
about A against N and C against L. Unlike words in the grammar, a single pixel is no neutral
position: how much ink there is, and where, is what a digit is, so single pixels and the mean over
the whole image do tell digits apart, rightly.

Coloured digits as a bias follow LfF (Nam et al. 2020, https://arxiv.org/abs/2007.02561).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from behavior.digit_images import DIGITS, SPLITS, DigitImages, read_digit_images
from behavior.draws import generator, shuffled
from behavior.errors import DataError
from behavior.examples import Quad
from behavior.generated import GeneratedTask
from behavior.inputs import ImageInput

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (145, 97, 243),
    (196, 78, 207),
    (220, 78, 144),
    (209, 98, 70),
    (168, 128, 23),
    (111, 159, 13),
    (60, 178, 49),
    (36, 178, 112),
    (47, 158, 186),
    (88, 128, 233),
)
"""Colour of each digit: a circle of hues at luma 128."""

JITTER = 12
"""Largest shift of each channel, in levels of 255; no colour of the palette is clipped by it."""


@dataclass(frozen=True)
class DigitsTask(GeneratedTask[ImageInput]):
    """Coloured digits, of any size: only the grey images are held in memory.

    `examples` of train, validation and test are drawn with rho; those of ood are the four cells
    of one quad of the test split after the other, so that the first 4n are those of `quads(n)`.

    Attributes:
        rho: Share of the in-domain items whose colour is that of their label, in [0, 1].
        classes: Digits to tell apart, at least two.
        path: An `.npz` of MNIST; None for scikit-learn's digits.
    """

    classes: Sequence[int] = tuple(DIGITS)
    path: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", tuple(self.classes))
        distinct = set(self.classes)
        if len(distinct) < 2 or len(distinct) < len(self.classes) or not distinct <= set(DIGITS):
            raise DataError(
                f"classes is {list(self.classes)}. Give two or more different digits from 0 to 9."
            )
        for split in SPLITS:
            lacking = distinct.difference(self._images.by_split[split])
            if lacking:
                raise DataError(
                    f"{self.path}: the {split} split has no image of digit {min(lacking)}. "
                    "Leave it out of classes, or add images."
                )

    @property
    def name(self) -> str:
        """`digits`."""
        return "digits"

    @property
    def labels(self) -> tuple[str, ...]:
        """The digits, such as `3`."""
        return tuple(str(digit) for digit in self.classes)

    def describe(self) -> dict[str, object]:
        """What is needed to make the same task again, as JSON."""
        return {
            "name": self.name,
            "rho": self.rho,
            "labels": list(self.labels),
            "palette": {str(digit): list(PALETTE[digit]) for digit in self.classes},
            "jitter": JITTER,
            **self._images.source,
        }

    @cached_property
    def _images(self) -> DigitImages:
        return read_digit_images(self.path)

    def _quad(self, stream: str, i: int, seed: int) -> Quad[ImageInput]:
        block, place = divmod(i, len(self.classes))
        step = 1 + block % (len(self.classes) - 1)
        label, foil = self.classes[place], self.classes[(place + step) % len(self.classes)]
        # In a block of quads every class is the label once and the foil once.
        label_image = self._image(stream, label, 2 * block, seed)
        foil_image = self._image(stream, foil, 2 * block + 1, seed)
        shift = _shift(stream, i, seed)
        return Quad(
            id=f"{stream}-{seed}-{i}",
            A=_paint(label_image, PALETTE[label], shift),
            N=_paint(label_image, PALETTE[foil], shift),
            C=_paint(foil_image, PALETTE[label], shift),
            L=_paint(foil_image, PALETTE[foil], shift),
            label=str(label),
            foil=str(foil),
        )

    def _image(
        self, stream: str, digit: int, use: int, seed: int
    ) -> UInt8[np.ndarray, "height width"]:
        """The image that a stream shows when it shows a digit for the use-th time."""
        split = {"ood": "test", "validation-quad": "validation"}.get(stream, stream)
        images = self._images.by_split[split][digit]
        turn, place = divmod(use, len(images))
        return images[_order(f"{stream} {digit}", turn, seed, len(images))[place]]


@lru_cache(maxsize=1024)
def _order(stream: str, turn: int, seed: int, n: int) -> tuple[int, ...]:
    return tuple(shuffled(range(n), generator(stream, turn, seed)))


def _shift(stream: str, i: int, seed: int) -> np.ndarray:
    rng = generator(f"{stream}-shift", i, seed)
    return np.array([int(rng.random() * (2 * JITTER + 1)) - JITTER for _ in range(3)])


def _paint(
    image: UInt8[np.ndarray, "height width"], colour: Colour, shift: np.ndarray
) -> ImageInput:
    ink = np.array(colour) + shift
    # Rounded up: a pixel with a trace of ink has ink in every colour.
    return ImageInput(((image[..., None] * ink + 254) // 255).astype(np.uint8))
