"""Times exact head patching against one full forward per head, side by side, on one thread.

    python benchmarks/head_patching.py [--repeats 2] [--sizes 4x4x128:256x24 ...]

Both sides patch the same pairs of the same random model in one process, in turns, and the least
processor time of each counts. The plain loop runs the whole batch once for each head, with a hook
that sets the head's z. Both first record both runs of every pair:

    patched runs    one full forward per head / what `patch_heads` runs instead
    whole call      the same with the recording of both runs on either side
    in chunks       the whole call, where the plain loop has batches as small as the engine's
    attribution     a whole call of `attribute_heads`, in forwards of the whole batch

The targets are for the patched runs.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import torch
from random_models import random_bert, random_pairs
from torch import Tensor

from behavior.examples import Pairs
from patching.activation import patch_heads
from patching.attribution import attribute_heads
from patching.interventions import needed_sites, plan_nodes
from patching.models.model import PatchableModel
from patching.models.nodes import Site, head_nodes
from patching.runs import PairRunner

SIZES = ("4x4x128:256x24", "6x12x384:32x32", "12x12x768:8x32")
TARGETS = {"4x4x128": 3.2, "6x12x384": 2.5, "12x12x768": 2.0}
COLUMNS = (
    "layers x heads x width",
    "pairs x tokens",
    "plain loop, s",
    "engine, s",
    "patched runs, times",
    "target",
    "whole call, times",
    "in chunks, times",
    "difference, logits",
    "attribution, forwards",
)


def main() -> int:
    """Print the table; exit code 1 if a size misses its target."""
    parser = argparse.ArgumentParser(description="Times head patching against plain forwards.")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="LAYERSxHEADSxWIDTH:PAIRSxTOKENS")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _write(COLUMNS)
    _write(["---"] * len(COLUMNS))
    missed = False
    for size in arguments.sizes:
        row, ratio = _time_size(size, arguments.repeats)
        missed |= ratio < TARGETS.get(size.split(":")[0], 0)
        _write(row)
    return int(missed)


def plain_loop(model: PatchableModel, pairs: Pairs, batch_size: int, patch: bool = True) -> Tensor:
    """Effects from one full forward per head, after one each to record both runs.

    Args:
        model: The model.
        pairs: Aligned pairs.
        batch_size: Pairs at once.
        patch: Whether to go on after the recording.

    Returns:
        Effects: [pair, layer, head], in logits.
    """
    spec, runner = model.spec, PairRunner(model, pairs, "noise")
    effects = torch.zeros(len(pairs), spec.n_layers, spec.n_heads)
    for chunk in model.chunks(runner.lengths, batch_size):
        clean, corrupted = (
            model.encoder.batch(model.encode([inputs[i] for i in chunk]))
            for inputs in (pairs.clean, pairs.corrupted)
        )
        with model.hooks.reading(model.sites(["z"])) as recorded:
            model.forward(corrupted)
        before = runner.margins(model.forward(clean), chunk)
        for site, z in recorded.items():
            for head in range(spec.n_heads if patch else 0):
                logits = _forward_with_head(model, clean, site, head, z)
                effects[chunk, site.layer, head] = before - runner.margins(logits, chunk)
    return effects


def record(model: PatchableModel, pairs: Pairs) -> None:
    """What `patch_heads` does before it patches."""
    plan = plan_nodes(model, head_nodes(model.spec.n_layers, model.spec.n_heads))
    for _ in PairRunner(model, pairs, "noise").chunks(needed_sites(model, plan)):
        pass


def _forward_with_head(
    model: PatchableModel, batch: dict[str, Tensor], site: Site, head: int, z: Tensor
) -> Tensor:
    columns = slice(head * model.spec.d_head, (head + 1) * model.spec.d_head)

    def set_head(_module: torch.nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        patched = args[0].clone()
        patched[..., columns] = z[:, :, head]
        return (patched,)

    hook = model.modules.layers[site.layer].o.register_forward_pre_hook(set_head)
    try:
        return model.forward(batch)
    finally:
        hook.remove()


def _time_size(size: str, repeats: int) -> tuple[list[str], float]:
    shape, data = size.split(":")
    n_layers, n_heads, d_model = (int(number) for number in shape.split("x"))
    n_pairs, n_tokens = (int(number) for number in data.split("x"))
    model, pairs = random_bert(n_layers, n_heads, d_model), random_pairs(n_pairs, n_tokens)
    chunk = max(len(positions) for positions in model.chunks([n_tokens] * n_pairs))
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_loop(model, pairs, n_pairs),
        "plain recording": lambda: plain_loop(model, pairs, n_pairs, patch=False),
        "engine": lambda: patch_heads(model, pairs),
        "engine recording": lambda: record(model, pairs),
        "attribution": lambda: attribute_heads(model, pairs),
        "forward": lambda: model.logits(pairs.clean, batch_size=n_pairs),
    }
    if chunk < n_pairs:
        runs["plain in chunks"] = lambda: plain_loop(model, pairs, chunk)
    least = dict(zip(runs, _least_times(list(runs.values()), repeats), strict=True))
    patched_plain = least["plain"] - least["plain recording"]
    patched_engine = least["engine"] - least["engine recording"]
    ratio = patched_plain / patched_engine
    difference = plain_loop(model, pairs, n_pairs) - patch_heads(model, pairs).heads
    row = [
        shape,
        data,
        f"{least['plain']:.2f}",
        f"{least['engine']:.2f}",
        f"{ratio:.2f}",
        f"{TARGETS.get(shape, 0):.1f}",
        f"{least['plain'] / least['engine']:.2f}",
        f"{least.get('plain in chunks', least['plain']) / least['engine']:.2f}",
        f"{difference.abs().max():.0e}",
        f"{least['attribution'] / least['forward']:.1f}",
    ]
    return row, ratio


def _least_times(runs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Least seconds of each, taken in turns so that a busy moment hits all of them."""
    least = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.process_time()
            run()
            least[i] = min(least[i], time.process_time() - start)
    return least


def _write(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
