"""How closely the backends agree: the largest differences over all families, as a table.

    python benchmarks/backend_parity.py [--pairs 8] [--families BERT T5 ...] [--direction noise]

For each family a random folder is written, opened once for each backend, and patched with pairs
made on the spot. A number is the largest |value - hooks| / max(1, |margin|) over pairs and nodes,
where `hooks` is the suffix engine and the others are whole forwards of their library; the target
is 1e-5. The last columns are the largest effect that was compared, and the time of `patch_heads`
in times that of `hooks`. Where a library cannot open a family, its own sentence stands instead.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from random_folders import LABEL_WORDS, MODELS, pairs_for, random_folder
from torch import Tensor

from behavior.errors import UnsupportedModelError
from behavior.examples import Pairs
from patching.activation import patch_heads, patch_layers, patch_mlps, patch_nodes
from patching.effects import Direction, Effects
from patching.models.backends import BACKENDS
from patching.models.loading import load_checkpoint
from patching.models.model import PatchableModel

TARGET = 1e-5
PACKAGES = ("torch", "transformers", "nnsight", "transformer-lens")
COLUMNS = (
    *("family", "backend", "margins", "heads (z)", "all heads", "patterns (q, k)", "values (v)"),
    *("MLPs", "inputs", "largest effect", "time, heads"),
)


def main() -> int:
    """Print the table; exit code 1 if a difference misses the target."""
    parser = argparse.ArgumentParser(description="Compares the numbers of the backends.")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--families", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--direction", default="noise", choices=["noise", "denoise"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _write(COLUMNS)
    _write(["---"] * len(COLUMNS))
    worst = 0.0
    for family in arguments.families:
        with tempfile.TemporaryDirectory() as folder:
            path = random_folder(Path(folder) / "model", family)
            worst = max(worst, compare(path, family, arguments.pairs, arguments.direction))
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    sys.stdout.write(f"\n{', '.join(versions)}; {platform.machine()}, one thread, float32.\n")
    return int(worst > TARGET)


def compare(folder: Path, family: str, n_pairs: int, direction: Direction) -> float:
    """Print the rows of one family; the largest difference among them."""
    pairs = pairs_for(family, n_pairs)
    expected = measure(_open(folder, family, "hooks"), pairs, direction)
    scale = expected.margins.abs().amax(dim=1).clamp(min=1.0)
    effect = max(
        float(value.abs().max()) for value in expected.values.values() if value is not None
    )
    worst = 0.0
    for backend in BACKENDS[1:]:
        try:
            found = measure(_open(folder, family, backend), pairs, direction)
        except UnsupportedModelError as error:
            _write([family, backend, str(error), *[""] * (len(COLUMNS) - 3)])
            continue
        differences = [
            None if value is None else _largest(value - expected.values[kind], scale)
            for kind, value in found.values.items()
        ]
        differences.insert(0, _largest(found.margins - expected.margins, scale))
        worst = max(worst, *(value for value in differences if value is not None))
        cells = ["-" if value is None else f"{value:.0e}" for value in differences]
        ratio = found.seconds / expected.seconds
        _write([family, backend, *cells, f"{effect:.2f}", f"{ratio:.1f}"])
    return worst


@dataclass(frozen=True, slots=True)
class Measured:
    """What one backend gives.

    Attributes:
        values: Kind -> [pair, node] effects, in logits; None where the family has no such nodes.
        margins: [pair, 2] of the clean and the corrupted run, in logits.
        seconds: Of `patch_heads`.
    """

    values: dict[str, Tensor | None]
    margins: Tensor
    seconds: float


def measure(model: PatchableModel, pairs: Pairs[Any], direction: Direction) -> Measured:
    """Effects of every kind of node on the model's backend."""
    patch_heads(model, pairs, direction)
    start = time.process_time()
    heads = patch_heads(model, pairs, direction)
    seconds = time.process_time() - start
    has_attention = model.modules.layers[0].has("q")
    runs: dict[str, Callable[[], Effects] | None] = {
        "heads": lambda: heads,
        "all heads": lambda: patch_layers(model, pairs, direction),
        "patterns": lambda: patch_layers(model, pairs, direction, "patterns"),
        "values": lambda: patch_layers(model, pairs, direction, "values"),
        "MLPs": lambda: patch_mlps(model, pairs, direction),
        "inputs": lambda: patch_nodes(model, pairs, model.spec.inputs, direction),
    }
    if not has_attention:
        runs |= dict.fromkeys(("patterns", "values", "MLPs"))
    values = {kind: None if run is None else run().values for kind, run in runs.items()}
    return Measured(values, torch.stack([heads.clean, heads.corrupted], dim=1), seconds)


def _open(folder: Path, family: str, backend: Any) -> PatchableModel:
    words = LABEL_WORDS if family.endswith("label words") else None
    return load_checkpoint(folder, backend=backend, label_words=words)


def _largest(difference: Tensor, scale: Tensor) -> float:
    return float((difference.abs().amax(dim=1) / scale).max())


def _write(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
