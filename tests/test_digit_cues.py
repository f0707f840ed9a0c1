"""Cheap classifiers of coloured digits: each cue tells nothing of the other."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict

from behavior.digits import DigitsTask
from behavior.examples import CELLS, Cell, ImageInput, Quad

QUADS = DigitsTask().quads(260)
THREES = [quad for quad in DigitsTask(classes=(3, 8)).quads(300) if quad.label == "3"]

CORE_ROWS: tuple[tuple[Cell, Cell], ...] = (("A", "C"), ("N", "L"))
SHORTCUT_ROWS: tuple[tuple[Cell, Cell], ...] = (("A", "N"), ("C", "L"))

View = Callable[[ImageInput], np.ndarray]


def ink(image: ImageInput) -> np.ndarray:
    """Colour of the ink: mean RGB weighted by the ink, whose three parts sum to one."""
    total = image.pixels().sum((0, 1), dtype=float)
    return total / total.sum()


def grey(image: ImageInput) -> np.ndarray:
    """What a model that sees in black and white sees, in levels of 255."""
    return np.asarray(Image.fromarray(image.pixels()).convert("L"), dtype=float).ravel()


def features(view: View, inputs: Sequence[ImageInput]) -> np.ndarray:
    rows = np.array([view(each) for each in inputs])
    return (rows - rows.mean(0)) / (rows.std() + 1e-9)


def separation(view: View, quads: Sequence[Quad[ImageInput]], row: Sequence[Cell]) -> float:
    """Cross-validated accuracy of telling the two cells of a row apart."""
    rows = features(view, [quad.cell(cell) for quad in quads for cell in row])
    truth = np.arange(len(rows)) % 2
    groups = np.arange(len(rows)) // 2
    model = LogisticRegression(max_iter=300)
    guess = cross_val_predict(model, rows, truth, groups=groups, cv=GroupKFold(5))
    return float((guess == truth).mean())


@pytest.mark.parametrize(("core", "shortcut"), [*zip(CORE_ROWS, SHORTCUT_ROWS, strict=True)])
def test_colour_tells_the_shortcut_alone_and_grey_the_core_alone(
    core: tuple[Cell, Cell], shortcut: tuple[Cell, Cell]
) -> None:
    assert abs(separation(ink, THREES, core) - 0.5) <= 0.05
    assert separation(ink, THREES, shortcut) > 0.95
    assert abs(separation(grey, THREES, shortcut) - 0.5) <= 0.05
    assert separation(grey, THREES, core) > 0.95


def test_classifiers_notice_a_trace_of_the_other_cue() -> None:
    """The check above can fail: a little red in one cell is found in both views."""

    def reddened(image: ImageInput, by: int) -> ImageInput:
        pixels = image.pixels().astype(int)
        pixels[..., 0] += by * (pixels.max(-1) > 0)
        return ImageInput(pixels.astype(np.uint8))

    marked = [
        Quad(q.id, q.A, reddened(q.N, 8), reddened(q.C, 8), q.L, q.label, q.foil) for q in THREES
    ]
    assert separation(grey, marked, ("A", "N")) > 0.6
    assert separation(ink, marked, ("A", "C")) > 0.6


def preferences(view: View, quads: Sequence[Quad[ImageInput]]) -> dict[Cell, np.ndarray]:
    """Whether a classifier trained on aligned items prefers the label to the foil, per cell."""
    train = list(DigitsTask(rho=1.0).examples("train", 1000))
    cells = [quad.cell(cell) for cell in CELLS for quad in quads]
    rows = features(view, [example.input for example in train] + cells)
    model = LogisticRegression(max_iter=300).fit(rows[:1000], [e.label for e in train])
    scores = model.decision_function(rows[1000:]).reshape(4, len(quads), -1)
    place = {name: i for i, name in enumerate(model.classes_)}
    label = [place[quad.label] for quad in quads]
    foil = [place[quad.foil] for quad in quads]
    each = np.arange(len(quads))
    return {cell: s[each, label] > s[each, foil] for cell, s in zip(CELLS, scores, strict=True)}


def test_colour_only_classifier_of_ten_digits_never_sees_the_core() -> None:
    prefers = preferences(ink, QUADS)
    assert prefers["A"].mean() > 0.9
    assert (prefers["A"] == prefers["C"]).mean() > 0.99
    assert (prefers["N"] == prefers["L"]).mean() > 0.99
    assert prefers["N"].mean() < 0.1


def test_black_and_white_classifier_of_ten_digits_never_sees_the_shortcut() -> None:
    prefers = preferences(grey, QUADS)
    assert prefers["A"].mean() > 0.9
    assert (prefers["A"] == prefers["N"]).mean() > 0.99
    assert (prefers["C"] == prefers["L"]).mean() > 0.99
    assert prefers["C"].mean() < 0.1
