"""Small evidence files and checkpoint files for tests of comparisons."""

import json
import random
from pathlib import Path

from modelmaking import NOUNS, VERBS

TWO_WAY = ("entailment", "non-entailment")


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
