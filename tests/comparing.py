"""Small evidence files and checkpoint files for tests of comparisons."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelmaking import NOUNS, VERBS
from PIL import Image

from behavior.examples import CELLS
from behavior.inputs import ImageInput
from behavior.tasks import load_task

TWO_WAY = ("entailment", "non-entailment")


def classes(*names: str) -> dict[str, Any]:
    """Class names as the sizes of `make_family` take them."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


DIGITS = classes(*map(str, range(10)))


def premise_and_hypothesis(premise: str, hypothesis: str) -> dict[str, str]:
    return {"premise": premise, "hypothesis": hypothesis}


def quad_rows(n: int, seed: int = 0) -> list[dict[str, object]]:
    """Aligned quads; N and L use other nouns than the premise."""
    draw = random.Random(seed)
    rows: list[dict[str, object]] = []
    for i in range(n):
        a, b, c, d = draw.sample(NOUNS, 4)
        verb, tail = draw.choice(VERBS), " today" * (i % 2)
        premise = f"the {a} {verb} the {b}{tail}"
        pairs = {"A": (a, b), "N": (c, d), "C": (b, a), "L": (d, c)}
        cells = {
            cell: premise_and_hypothesis(premise, f"the {x} {verb} the {y}")
            for cell, (x, y) in pairs.items()
        }
        about = {"label": "entailment", "foil": "non-entailment"}
        rows.append({"id": f"q{i}", **cells, **about, "template": f"t{i % 2}"})
    return rows


def pair_rows(n: int, seed: int = 0) -> list[dict[str, object]]:
    """Aligned pairs of the core contrast."""
    return [
        {
            "id": row["id"],
            "clean": row["A"],
            "corrupted": row["C"],
            "label": row["label"],
            "foil": row["foil"],
            "contrast": "core",
        }
        for row in quad_rows(n, seed)
    ]


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_quads(path: Path, n: int = 24) -> Path:
    return write_rows(path, quad_rows(n))


def write_pairs(path: Path, n: int = 24) -> Path:
    return write_rows(path, pair_rows(n))


def write_labelled(path: Path, n: int = 24) -> Path:
    """Labelled examples without pairs."""
    lines = ["premise\thypothesis\tlabel\tgenre"]
    for i, row in enumerate(quad_rows(n)):
        cell = row["A"] if i % 2 else row["C"]
        assert isinstance(cell, dict)
        label = TWO_WAY[(i + 1) % 2]
        lines.append(f"{cell['premise']}\t{cell['hypothesis']}\t{label}\tgenre{i % 3}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_image_quads(folder: Path, n: int) -> Path:
    """Coloured digits as files, and the JSON lines that name them."""
    rows: list[dict[str, object]] = []
    for quad in load_task("digits").quads(n):
        cells = {
            cell: {"image": _save(folder, f"{quad.id}-{cell}", quad.cell(cell))} for cell in CELLS
        }
        rows.append({"id": quad.id, **cells, "label": quad.label, "foil": quad.foil})
    return write_rows(folder / "quads.jsonl", rows)


def write_image_pairs(folder: Path, n: int) -> Path:
    """The core pairs of coloured digits, with the images as data URIs."""
    rows: list[dict[str, object]] = [
        {
            "id": quad.id,
            "clean": quad.A.to_json(),
            "corrupted": quad.C.to_json(),
            "label": quad.label,
            "foil": quad.foil,
        }
        for quad in load_task("digits").quads(n)
    ]
    return write_rows(folder / "pairs.jsonl", rows)


def write_wilds(folder: Path, n: int = 24, height: int = 40, width: int = 30) -> Path:
    """Images in groups: class `y` and confounder `place`, which go together in five of six."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    lines = ["img_filename,y,place,split"]
    for split in ("train", "test"):
        for i in range(n):
            y = i % 2
            place = 1 - y if i % 6 == 0 or i % 6 == 5 else y
            pixels = draw.integers(0, 120, (height, width, 3), dtype=np.uint8)
            pixels[..., place] += 100
            name = f"{split}-{i}.png"
            Image.fromarray(pixels).save(folder / name)
            lines.append(f"{name},{y},{place},{split}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _save(folder: Path, name: str, image: ImageInput) -> str:
    (folder / "images").mkdir(exist_ok=True)
    Image.fromarray(image.pixels()).save(folder / "images" / f"{name}.png")
    return f"images/{name}.png"


def enter_copy(models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of one's own, in which the models can be named; returns it."""
    for path in models.iterdir():
        (folder / path.name).symlink_to(path)
    monkeypatch.chdir(folder)
    return folder
