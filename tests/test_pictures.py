"""Inputs as the page shows them: small, inside the page, and nothing but an image."""

import numpy as np
import pytest

from behavior.images import decode_data_uri, encode_data_uri
from behavior.inputs import ImageInput
from circuits.compare.page.pictures import LARGEST, describe_input, picture, shrink


def test_large_images_are_scaled_down_for_the_page() -> None:
    large = np.zeros((400, 250, 3), dtype=np.uint8)
    assert shrink(large).shape == (LARGEST, 100, 3)
    stored = describe_input(ImageInput(large))
    assert decode_data_uri(stored["image"]).shape == (LARGEST, 100, 3)
    assert "path" not in stored
    small = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(decode_data_uri(describe_input(ImageInput(small))["image"]), small)


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/x.png",
        "javascript:alert(1)",
        'data:image/png;base64,AAAA"><script>',
        "data:image/svg+xml;base64,AAAA",
        "birds/../secret.png",
    ],
)
def test_nothing_but_a_png_becomes_an_image(address: str) -> None:
    said = picture(address, "cell A")
    assert "<img" not in said and "<script" not in said


def test_the_words_beside_an_image_are_escaped() -> None:
    said = picture(encode_data_uri(np.zeros((2, 2, 3), dtype=np.uint8)), 'x" onerror="alert(1)')
    assert 'onerror="' not in said
