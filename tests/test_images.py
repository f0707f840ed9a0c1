"""Image inputs: every kind of file becomes RGB or one line that says why not."""

import csv
import json
import pickle
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image

from behavior.digits import DigitsTask
from behavior.errors import DataError
from behavior.examples import CELLS, ImageInput, Pairs, Quad, TextInput
from behavior.images import MAX_PIXELS
from behavior.tasks import load_task, open_examples

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def picture(path: Path, pixels: np.ndarray = COLOURS, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with almost no data behind it."""
    stream = BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = width.to_bytes(4) + height.to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_file_gives_the_pixels_that_were_stored(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLOURS).save(path, **options)
    pixels = ImageInput(path).pixels()
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, COLOURS)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tiff" if mode == "CMYK" else "png"
    path = picture(tmp_path / f"image.{suffix}", mode=mode)
    expected = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(ImageInput(path).pixels(), expected)


def test_greyscale_has_three_equal_channels_and_transparency_is_dropped(tmp_path: Path) -> None:
    grey = ImageInput(picture(tmp_path / "grey.png", mode="L")).pixels()
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 0] == grey[..., 2]).all()
    clear = np.dstack([COLOURS, np.zeros(COLOURS.shape[:2], np.uint8)])
    pixels = ImageInput(picture(tmp_path / "clear.png", clear)).pixels()
    np.testing.assert_array_equal(pixels, COLOURS)


def test_palette_with_transparency_becomes_rgb_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("P")
    image.save(tmp_path / "p.png", transparency=bytes(range(256)))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(ImageInput(tmp_path / "p.png").pixels(), expected)


def test_orientation_of_a_photograph_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "turned.png", exif=exif)
    pixels = ImageInput(tmp_path / "turned.png").pixels()
    np.testing.assert_array_equal(pixels, np.rot90(COLOURS, -1))


def test_pixels_equal_what_transformers_loads(tmp_path: Path) -> None:
    for mode in ("L", "P", "RGBA"):
        path = picture(tmp_path / f"{mode}.png", mode=mode)
        np.testing.assert_array_equal(ImageInput(path).pixels(), np.asarray(load_image(str(path))))


def broken(tmp_path: Path) -> dict[str, Path]:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = picture(tmp_path / "whole.png", noise).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    contents = {
        "missing": None,
        "text": b"not an image",
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "large": png(8001, 8001),
        "bomb": png(10_000, 10_000),
        "huge": png(60_000, 60_000),
    }
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    picture(tmp_path / "deep.png", np.full((4, 4), 40_000, np.uint16)).rename(tmp_path / "deep")
    picture(tmp_path / "float.tiff", np.ones((4, 4), np.float32)).rename(tmp_path / "float")
    (tmp_path / "folder").mkdir()
    return {path.name: path for path in (tmp_path / "missing", *tmp_path.iterdir())}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"missing: there is no such file"),
        ("folder", r"folder: cannot be read \(Is a directory\)"),
        ("text", r"text: is not an image\. Expected one of: BMP, GIF, JPEG, PNG"),
        ("empty", r"empty: is not an image"),
        ("cut", r"cut: the image is corrupt \(.*\)\. Save it again"),
        ("flipped", r"flipped: the image is corrupt"),
        ("large", r"large: has more than 64 megapixels\. Scale it down"),
        ("bomb", r"bomb: has more than 64 megapixels"),
        ("huge", r"huge: has more than 64 megapixels"),
        ("deep", r"deep: has deep pixels \(mode I;16\), but 8 bits a channel"),
        ("float", r"float: has deep pixels \(mode F\)"),
    ],
)
def test_file_that_cannot_be_read_is_named_in_one_line(
    tmp_path: Path, name: str, message: str
) -> None:
    image = ImageInput(broken(tmp_path)[name])
    with pytest.raises(DataError, match=message) as caught:
        image.pixels()
    assert "\n" not in str(caught.value)


def test_image_at_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "limit.png"
    Image.new("1", (8000, MAX_PIXELS // 8000)).save(path)
    assert ImageInput(path).pixels().shape == (8000, 8000, 3)


def test_pixels_in_memory_are_a_copy_that_cannot_change() -> None:
    given = COLOURS.copy()
    image = ImageInput(given)
    given[:] = 0
    np.testing.assert_array_equal(image.pixels(), COLOURS)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels()[0, 0, 0] = 1


def test_images_are_equal_by_path_or_by_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images = [ImageInput(path), ImageInput(path), ImageInput(COLOURS), ImageInput(COLOURS + 0)]
    assert len(set(images)) == 2
    assert ImageInput(COLOURS) != ImageInput(COLOURS[::-1])
    assert ImageInput(COLOURS) != ImageInput(COLOURS.reshape(7, 5, 3))
    assert ImageInput(path) != TextInput("a.png")
    assert pickle.loads(pickle.dumps(images)) == images


def test_image_is_shown_in_one_short_line(tmp_path: Path) -> None:
    assert repr(ImageInput(COLOURS)) == "ImageInput(<5 x 7 pixels>)"
    assert repr(ImageInput(Path("a.png"))) == "ImageInput('a.png')"


@pytest.mark.parametrize(
    "pixels",
    [
        COLOURS.astype(np.float32),
        COLOURS[..., 0],
        COLOURS[..., :2],
        np.moveaxis(COLOURS, 2, 0),
        COLOURS[:0],
    ],
)
def test_array_that_is_no_rgb_image_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"uint8 \[height, width, 3\] in RGB order is expected"):
        ImageInput(pixels)


def quad_row(folder: Path, i: int) -> dict[str, object]:
    for cell in CELLS:
        picture(folder / f"{i}{cell}.png", RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    cells = {cell: {"image": f"images/{i}{cell}.png"} for cell in CELLS}
    return {**cells, "id": f"q{i}", "label": "3", "foil": "8"}


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def test_quads_of_images_are_read_from_the_folder_of_the_file(images: Path) -> None:
    path = jsonl(images.parent / "q.jsonl", [quad_row(images, i) for i in range(3)])
    task = open_examples(path)
    assert (task.name, task.n_quads, task.n_pairs("shortcut")) == ("quads", 3, 6)
    assert ImageInput(images / "1C.png") == task.quads(3)[1].C
    assert task.quads(1)[0].A.pixels().shape == (4, 4, 3)
    assert len(list(task.examples("all"))) == 12


def test_pairs_of_images_are_read_from_jsonl_and_csv(images: Path) -> None:
    row = quad_row(images, 0)
    pair = {"clean": row["A"], "corrupted": row["C"], "label": "3", "foil": "8"}
    lines = open_examples(jsonl(images.parent / "p.jsonl", [pair])).pairs("core", 1)
    assert lines.clean == (ImageInput(images / "0A.png"),)
    table = images.parent / "p.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["clean.image", "corrupted.image", "label", "foil"])
        writer.writerow(["images/0A.png", "images/0C.png", "3", "8"])
    cells = open_examples(table).pairs("core", 1)
    assert (cells.clean, cells.corrupted) == (lines.clean, lines.corrupted)


def test_generated_quads_survive_a_file(tmp_path: Path) -> None:
    quads = DigitsTask(classes=(3, 8)).quads(4)
    rows = [
        {"id": quad.id, "label": quad.label, "foil": quad.foil}
        | {cell: quad.cell(cell).to_json() for cell in CELLS}
        for quad in quads
    ]
    assert load_task("quads", path=jsonl(tmp_path / "q.jsonl", rows)).quads(None) == quads


def test_path_of_an_image_is_what_its_json_holds(tmp_path: Path) -> None:
    assert ImageInput(tmp_path / "a.png").to_json() == {"image": str(tmp_path / "a.png")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"C": {"image": "images/gone.png"}}, r"'C' is the image 'images/gone\.png', but there is"),
        ({"C": {"image": "images"}}, r"'C' is the image 'images', but there is no file"),
        ({"C": {"image": "x" * 5000}}, r"'C' is the image 'xx.*no file"),
        ({"C": {"image": ""}}, r"'C' is .*or the path of an image"),
        ({"C": {"image": 3}}, r"'C' is \{'image': 3\}"),
        ({"C": {"image": "images/0C.png", "text": "a"}}, r"'C' is .* and nothing else"),
        ({"C": {"text": "a three"}}, r"mixes texts and images"),
        ({"C": {"image": "data:image/png;base64,@"}}, r"'C': A data URI is not base64"),
        ({"C": {"image": "data:image/png;base64,YQ=="}}, r"'C': A data URI: is not an image"),
    ],
)
def test_broken_image_in_a_row_is_named(
    images: Path, change: dict[str, object], message: str
) -> None:
    rows = [quad_row(images, 1), quad_row(images, 0) | change]
    path = jsonl(images.parent / "bad.jsonl", rows)
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: " + message) as caught:
        open_examples(path)
    assert "\n" not in str(caught.value)


def test_texts_and_images_do_not_mix(images: Path) -> None:
    row = quad_row(images, 0)
    texts = {cell: {"text": f"words {cell}"} for cell in CELLS}
    with pytest.raises(DataError, match="A set of pairs mixes texts and images"):
        open_examples(jsonl(images.parent / "m.jsonl", [row, row | texts | {"id": "q1"}]))
    image, text = ImageInput(COLOURS), TextInput("a three")
    with pytest.raises(DataError, match="Quad 'q' mixes texts and images"):
        Quad("q", image, image, image, text, "3", "8")
    with pytest.raises(DataError, match="mixes texts and images"):
        Pairs("core", (image,), (text,), ("3",), ("8",), ("u",), ("",), ("",))
