"""Images become the pixel values that their model's own processor makes, when a batch is made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from imagemaking import SIZE, make_image_processor, make_images, pixel_values, write_image
from transformers import ConvNextImageProcessorPil

from behavior.errors import DataError
from behavior.examples import ImageInput, TextInput
from patching.models.encoders import Encoder
from patching.models.image_encoding import ImageEncoder

CPU = torch.device("cpu")


def make_encoder(
    size: int | None = SIZE,
    image_size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> ImageEncoder:
    processor = make_image_processor(size)
    return ImageEncoder(processor, CPU, dtype, n_positions=17, image_size=image_size)


def said(encoder: ImageEncoder, *images: ImageInput) -> str:
    with pytest.raises(DataError) as caught:
        encoder.batch(encoder.encode(images))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixel_values_are_those_of_the_processor_alone(dtype: torch.dtype) -> None:
    encoder = make_encoder(dtype=dtype)
    images = [*make_images(3), *make_images(1, 3, 5), *make_images(1, 1, 1)]
    batch = encoder.batch(encoder.encode(images))
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].dtype == dtype
    expected = torch.cat([pixel_values(encoder.processor, image) for image in images])
    assert expected.shape == (5, 3, SIZE, SIZE)
    assert torch.equal(batch["pixel_values"], expected.to(dtype))


def test_the_same_image_gives_the_same_values_in_memory_and_in_a_file(tmp_path: Path) -> None:
    encoder = make_encoder()
    first, second = make_images(2)
    stored = write_image(tmp_path / "first.png", first)
    values = encoder.batch(encoder.encode([first, second, stored]))["pixel_values"]
    assert torch.equal(values[0], values[2])
    assert not torch.equal(values[0], values[1])


def test_a_greyscale_file_has_three_equal_channels(tmp_path: Path) -> None:
    grey = np.repeat(make_images(1)[0].pixels()[:, :, :1], 3, axis=2)
    stored = write_image(tmp_path / "grey.png", ImageInput(grey))
    values = make_encoder().batch(make_encoder().encode([stored]))["pixel_values"][0]
    assert torch.equal(values[0], values[1]) and torch.equal(values[0], values[2])


def test_files_are_opened_when_the_batch_is_made_and_not_before(tmp_path: Path) -> None:
    encoder = make_encoder()
    path = tmp_path / "later.png"
    rows = encoder.encode([ImageInput(path)])
    assert "there is no such file" in said(encoder, ImageInput(path))
    write_image(path, make_images(1)[0])
    assert encoder.batch(rows)["pixel_values"].shape == (1, 3, SIZE, SIZE)
    assert [len(row) for row in rows] == [17]
    encoder.check_lengths([ImageInput(path)], rows)


def test_an_image_encoder_is_an_encoder() -> None:
    assert isinstance(make_encoder(), Encoder)


def test_a_text_is_refused_by_an_image_model() -> None:
    with pytest.raises(DataError, match="An input is a text, but the model reads images"):
        make_encoder().encode([TextInput("a")])


def test_images_of_two_sizes_in_one_batch_are_named() -> None:
    message = said(make_encoder(None), *make_images(1, 8, 8), *make_images(1, 8, 12))
    assert "<8 x 8 pixels>" in message and "<8 x 12 pixels>" in message
    assert "8 x 8 pixels and 8 x 12 pixels, but the images of a batch need one size" in message


def test_an_image_of_a_size_that_the_model_does_not_take_is_named() -> None:
    message = said(make_encoder(None, image_size=(8, 8)), *make_images(1, 8, 12))
    assert "with 8 x 12 pixels, but the model takes 8 x 8 pixels. Set size" in message


def test_what_the_processor_cannot_do_is_one_line() -> None:
    processor = make_image_processor(None, image_mean=[0.5, 0.5], do_normalize=False)
    encoder = ImageEncoder(processor, CPU, torch.float32, n_positions=1)
    processor.do_normalize = True
    assert "the image processor cannot work on it (mean must have 3" in said(
        encoder, *make_images(1)
    )


@pytest.mark.parametrize(("size", "fixed"), [(SIZE, (SIZE, SIZE)), (None, None)])
def test_whether_the_size_is_fixed_is_found_by_trying(
    size: int | None, fixed: tuple[int, int] | None
) -> None:
    assert make_encoder(size).fixed_size == fixed


def test_a_processor_that_crops_has_a_fixed_size() -> None:
    processor = ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=0.5)
    assert ImageEncoder(processor, CPU, torch.float32, n_positions=1).fixed_size == (SIZE, SIZE)


def test_images_are_aligned_if_the_model_gets_them_with_one_size() -> None:
    small, wide = make_images(2, 8, 8), make_images(1, 8, 12)
    free, resizing = make_encoder(None), make_encoder()
    assert free.misalignment(free.encode(small)) is None
    assert free.misalignment(free.encode([*small, *wide])) == "of different sizes"
    assert resizing.misalignment(resizing.encode([*small, *wide])) is None


def test_alignment_opens_no_file_where_the_processor_resizes() -> None:
    encoder = make_encoder()
    rows = encoder.encode([ImageInput(Path("nowhere.png")), *make_images(1)])
    assert encoder.misalignment(rows) is None
