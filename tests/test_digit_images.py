"""Grey digits: from scikit-learn or a file, each image in one split."""

from pathlib import Path

import numpy as np
import pytest

from behavior.digit_images import SPLITS, read_digit_images
from behavior.digits import DigitsTask
from behavior.errors import DataError
from behavior.examples import CELLS
from behavior.tasks import load_task

MNIST = Path(__file__).parents[2] / "shared/data/mnist/mnist.npz"


def test_source_images_belong_to_one_split() -> None:
    by_split = read_digit_images().by_split
    images = {
        split: {image.tobytes() for some in by_split[split].values() for image in some}
        for split in SPLITS
    }
    assert {split: len(some) for split, some in images.items()} == {
        "train": 1078,
        "validation": 180,
        "test": 539,
    }
    assert len(set().union(*images.values())) == 1797


def arrays(**changes: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 6, 5), dtype=np.uint8)
    digits = np.arange(60, dtype=np.uint8) % 2
    stored = {"x_train": images, "y_train": digits, "x_test": images[:9] // 2, "y_test": digits[:9]}
    return stored | changes


def stored(path: Path, **changes: object) -> Path:
    np.savez(path, **{name: each for name, each in arrays(**changes).items() if each is not None})
    return path


def test_file_keeps_its_own_test_split_and_its_size(tmp_path: Path) -> None:
    task = load_task("digits", classes=(0, 1), path=str(stored(tmp_path / "d.npz")))
    by_split = read_digit_images(tmp_path / "d.npz").by_split
    assert {split: sum(map(len, by_split[split].values())) for split in SPLITS} == {
        "train": 54,
        "validation": 6,
        "test": 9,
    }
    assert task.quads(3)[0].A.pixels().shape == (6, 5, 3)
    assert task.labels == ("0", "1")


def test_training_image_that_is_in_the_test_split_is_left_out(tmp_path: Path) -> None:
    path = stored(tmp_path / "d.npz", x_test=arrays()["x_train"][:9])
    by_split = read_digit_images(path).by_split
    assert sum(len(each) for split in SPLITS for each in by_split[split].values()) == 60


def test_trace_of_ink_is_seen_in_every_colour(tmp_path: Path) -> None:
    levels = np.arange(60 * 30, dtype=np.int64).reshape(60, 6, 5) % 97 % 3
    path = stored(tmp_path / "faint.npz", x_train=levels.astype(np.uint8))
    task = DigitsTask(classes=(0, 1), path=path)
    for quad in [task.training_quad(i) for i in range(8)]:
        inked = {cell: quad.cell(cell).pixels().all(-1) for cell in CELLS}
        np.testing.assert_array_equal(inked["A"], inked["N"])
        np.testing.assert_array_equal(inked["A"], quad.A.pixels().any(-1))


@pytest.mark.skipif(not MNIST.is_file(), reason="MNIST is not at hand")
def test_mnist_keeps_its_28_pixels() -> None:
    task = DigitsTask(path=MNIST)
    assert next(task.examples("train")).input.pixels().shape == (28, 28, 3)
    sizes = [sum(map(len, part.values())) for part in read_digit_images(MNIST).by_split.values()]
    assert sizes == [54_000, 6_000, 10_000]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, r"has no array 'y_test'\. Expected: x_train, y_train"),
        ({"x_train": np.ones((60, 6, 5))}, r"x_train is float64 \[60, 6, 5\].*uint8"),
        ({"x_test": np.ones((9, 6, 5, 3), np.uint8)}, r"x_test is uint8 \[9, 6, 5, 3\]"),
        ({"y_train": np.ones(59, int)}, r"y_train is int64 \[59\], but one integer.*60 images"),
        ({"y_test": np.ones(9)}, r"y_test is float64"),
        ({"y_test": np.array([{}] * 9)}, r"is not an \.npz of plain arrays"),
        (
            {"x_test": np.ones((9, 6, 6), np.uint8)},
            r"x_train has images of \[6, 5\], x_test of \[6, 6\]",
        ),
        ({"y_test": np.zeros(9, int)}, r"the test split has no image of digit 1"),
    ],
)
def test_file_of_other_arrays_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = stored(tmp_path / "bad.npz", **changes)
    with pytest.raises(DataError, match=r"bad\.npz: " + message):
        DigitsTask(classes=(0, 1), path=path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz: is not an \.npz of plain arrays"):
        load_task("digits", path=tmp_path / "bad.npz")
