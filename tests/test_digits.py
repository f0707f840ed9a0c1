"""Coloured digits: digit and colour vary apart, and neither gives the other away."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import islice, permutations
from pathlib import Path

import numpy as np
import pytest

from behavior.digit_images import read_digit_images
from behavior.digits import JITTER, PALETTE, DigitsTask, _shift
from behavior.errors import DataError
from behavior.examples import CELLS, Cell, Example, ImageInput, Quad
from behavior.tasks import load_task

TASK = DigitsTask()
QUADS = TASK.quads(260)
PAIR = DigitsTask(classes=(3, 8))


def inked(image: ImageInput) -> np.ndarray:
    return image.pixels().max(-1) > 0


def hue(image: ImageInput) -> str:
    """The digit whose colour is nearest to that of the ink, however bright."""
    ink = image.pixels().sum((0, 1), dtype=float)
    palette = np.array(PALETTE, dtype=float)
    distances = palette / palette.sum(1, keepdims=True) - ink / ink.sum()
    return str(np.linalg.norm(distances, axis=1).argmin())


def shift(quad: Quad[ImageInput]) -> np.ndarray:
    stream, seed, i = quad.id.rsplit("-", 2)
    return _shift(stream, int(i), int(seed))


def paint(quad: Quad[ImageInput], cell: Cell) -> np.ndarray:
    """Colour of full ink in a cell."""
    return np.array(PALETTE[int(quad.label if cell in "AC" else quad.foil)]) + shift(quad)


def is_painted(image: ImageInput, colour: np.ndarray) -> bool:
    """Whether every pixel is one level of ink times this colour, rounded up."""
    share = image.pixels() / colour
    return bool(((share - 1 / colour).max(-1) < share.min(-1)).all())


def levels(quad: Quad[ImageInput], cell: Cell) -> bytes:
    """The grey image behind a cell of scikit-learn's digits: its 17 levels of ink."""
    colour = paint(quad, cell)
    share = quad.cell(cell).pixels()[..., colour.argmax()] / colour.max()
    return np.rint(share * 16 - 0.05).astype(np.uint8).tobytes()


def test_same_digit_is_in_a_and_n_and_in_c_and_l() -> None:
    for quad in QUADS:
        for left, right in (("A", "N"), ("C", "L")):
            np.testing.assert_array_equal(inked(quad.cell(left)), inked(quad.cell(right)))
            assert levels(quad, left) == levels(quad, right)


def test_same_colour_is_in_a_and_c_and_in_n_and_l_with_one_shift_for_all() -> None:
    for quad in QUADS:
        assert 0 < np.abs(shift(quad)).max() <= JITTER
        for cell in CELLS:
            assert is_painted(quad.cell(cell), paint(quad, cell))
            assert hue(quad.cell(cell)) == (quad.label if cell in "AC" else quad.foil)
        assert not is_painted(quad.A, paint(quad, "N"))
        assert not is_painted(quad.A, np.array(PALETTE[int(quad.label)]))


def test_background_is_black_and_images_are_16_pixels_wide() -> None:
    for quad in QUADS[:20]:
        assert quad.A.pixels().shape == (16, 16, 3)
        assert 0.2 < 1 - inked(quad.A).mean() < 0.9


def test_palette_is_equally_bright_and_never_clipped() -> None:
    palette = np.array(PALETTE)
    np.testing.assert_allclose(palette @ [0.299, 0.587, 0.114], 128, atol=0.05)
    assert palette.min() - JITTER >= 1
    assert palette.max() + JITTER <= 255
    apart = [np.linalg.norm(one - other) for one, other in permutations(palette, 2)]
    assert min(apart) > 5 * JITTER


def test_labels_and_foils_take_the_classes_in_turn() -> None:
    pairs = Counter((quad.label, quad.foil) for quad in QUADS[:90])
    assert set(pairs) == set(permutations(TASK.labels, 2))
    assert set(pairs.values()) == {1}
    assert Counter(quad.label for quad in PAIR.quads(40)) == {"3": 20, "8": 20}


def test_first_260_quads_show_no_image_twice() -> None:
    shown = [levels(quad, cell) for quad in QUADS for cell in ("A", "C")]
    assert len(set(shown)) == len(shown) == 520


@pytest.mark.parametrize(
    ("stream", "quads"),
    [
        ("train", [TASK.training_quad(i) for i in range(60)]),
        ("validation", TASK.quads(60, split="validation")),
        ("test", TASK.quads(60)),
    ],
)
def test_items_show_images_of_their_split(stream: str, quads: Sequence[Quad[ImageInput]]) -> None:
    own = {
        (str(digit), np.rint(image / 255 * 16).astype(np.uint8).tobytes())
        for digit, images in read_digit_images().by_split[stream].items()
        for image in images
    }
    shown = [(quad.truth(cell), levels(quad, cell)) for quad in quads for cell in CELLS]
    assert set(shown) <= own


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.99])
def test_rho_is_the_share_of_items_in_the_colour_of_their_label(rho: float) -> None:
    n = 2000
    items = list(load_task("digits", rho=rho).examples("train", n))
    counts = Counter(item.group for item in items)
    for cell in CELLS:
        expected = n / 2 * (rho if cell in "AL" else 1 - rho)
        assert abs(counts[cell] - expected) < 4.5 * expected**0.5
    for item in items[:300]:
        assert (hue(item.input) == item.label) == item.aligned == (item.group in "AL")


def test_every_class_is_as_frequent_among_the_items() -> None:
    labels = Counter(item.label for item in TASK.examples("train", 5000))
    assert set(labels) == set(TASK.labels)
    assert max(abs(n - 500) for n in labels.values()) < 4.5 * 500**0.5


def test_training_item_and_its_twins_are_the_cells_of_its_training_quad() -> None:
    for i, example in enumerate(TASK.examples("train", 50, seed=4)):
        quad = TASK.training_quad(i, seed=4)
        assert example in quad.examples()
        twins: dict[str, Cell] = {"A": "C", "C": "A", "N": "L", "L": "N"}
        twin = quad.example(twins[example.group])
        assert twin.label != example.label
        assert hue(twin.input) == hue(example.input)


def test_cells_of_the_quads_are_the_first_out_of_domain_examples() -> None:
    cells = [example for quad in TASK.quads(5, seed=9) for example in quad.examples()]
    assert list(TASK.examples("ood", 20, seed=9)) == cells


def test_item_depends_on_seed_split_and_place_alone() -> None:
    whole = list(TASK.examples("train", 50, seed=1))
    assert list(islice(TASK.examples("train", seed=1), 50)) == whole
    assert list(TASK.examples("train", 20, seed=1)) == whole[:20]
    assert next(TASK.examples("train", seed=2)).input != whole[0].input
    assert TASK.training_quad(10**9).label in TASK.labels


def fingerprint(examples: Sequence[Example[ImageInput]]) -> str:
    return blake2b(b"".join(e.input.pixels().tobytes() for e in examples)).hexdigest()[:16]


def test_items_are_the_same_on_every_machine() -> None:
    items = list(TASK.examples("train", 3, seed=7))
    assert [item.id for item in items] == ["train-7-0.L", "train-7-1.A", "train-7-2.L"]
    assert fingerprint(items) == "c9a512897ca4e634"


def test_items_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    code = (
        "from behavior.digits import DigitsTask as T;"
        "print([list(e.input.pixels().sum((0, 1))) for e in T().examples('train', 5)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    sums = [list(e.input.pixels().sum((0, 1))) for e in TASK.examples("train", 5)]
    assert seen == {f"{sums}\n"}


def test_ids_are_unique_across_splits_and_seeds() -> None:
    ids = [e.id for split in TASK.splits for seed in (0, 1) for e in TASK.examples(split, 40, seed)]
    ids += [e.id for q in TASK.quads(10, split="validation") for e in q.examples()]
    assert len(set(ids)) == len(ids)


def test_pairs_change_one_cue_each() -> None:
    core, shortcut = TASK.pairs("core", 6), TASK.pairs("shortcut", 6)
    assert core.steps == ("A->C", "N->L") * 3
    for clean, corrupted in zip(core.clean, core.corrupted, strict=True):
        assert hue(clean) == hue(corrupted)
    for clean, corrupted in zip(shortcut.clean, shortcut.corrupted, strict=True):
        np.testing.assert_array_equal(inked(clean), inked(corrupted))
        assert hue(clean) != hue(corrupted)


def test_description_changes_with_the_setting() -> None:
    assert TASK.describe() == DigitsTask().describe()
    assert TASK.describe() != DigitsTask(rho=0.9).describe()
    assert PAIR.describe()["labels"] == ["3", "8"]
    assert DigitsTask(classes=[3, 8]) == PAIR


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DigitsTask(rho=1.5), r"rho is 1\.5.*from 0 to 1"),
        (lambda: DigitsTask(classes=(3,)), r"classes is \[3\]\. Give two or more different"),
        (lambda: DigitsTask(classes=(3, 3)), r"classes is \[3, 3\]"),
        (lambda: DigitsTask(classes=(3, 10)), r"digits from 0 to 9"),
        (lambda: TASK.examples("hard"), r"'hard'\. Expected one of: train, validation, test, ood"),
        (lambda: TASK.quads(3, split="train"), r"'train'\. Expected test or validation"),
        (lambda: load_task("digits", path=Path("gone.npz")), r"gone\.npz: there is no such file"),
        (lambda: load_task("digits", colours=3), r"no option 'colours'\. Expected: rho, classes"),
        (lambda: load_task("hans", path=None), r"Task 'hans' is read from a source"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
