"""Times exact head patching against one full forward per head, side by side.

    python benchmarks/head_patching.py [--repeats 3] [--threads 1] [--device cpu] [--only BERT ...]

All sides patch the same pairs of the same random model in one process, in turns, and the least time
of each counts (processor time on one thread, else wall time). The plain loop runs the whole batch
once for each head, with a hook that sets the head's z. Both first record both runs of every pair:

    patched runs    one full forward per head / what `patch_heads` runs instead; the targets
    whole call      the same with the recording of both runs on either side
    in chunks       the whole call, where the plain loop has batches as small as the engine's
    FLOP bound      counted matmul and convolution FLOPs of the plain loop / of `patch_heads`
    TransformerLens, nnsight    the plain loop / their own recipes ("-": cannot open the model)
    attribution     a whole call of `attribute_heads`, in forwards of the whole batch
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from plain_loops import lens_loop, nnsight_loop, plain_loop
from random_models import (
    random_bert,
    random_image_pairs,
    random_pairs,
    random_resnet,
    random_t5,
    random_vit,
)
from torch.utils.flop_counter import FlopCounterMode

from behavior.errors import CircuitsError
from behavior.examples import Pairs
from behavior.inputs import Input
from patching.activation import patch_heads
from patching.attribution import attribute_heads
from patching.interventions import needed_sites, plan_nodes
from patching.models.model import PatchableModel
from patching.runs import PairRunner

COLUMNS = (
    "model",
    "pairs x positions",
    "plain loop, s",
    "engine, s",
    "patched runs, times",
    "target",
    "whole call, times",
    "in chunks, times",
    "FLOP bound, times",
    "TransformerLens, times",
    "nnsight, times",
    "difference, logits",
    "attribution, forwards",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        model: Made when its turn comes.
        pairs: Likewise.
        target: Least ratio of the patched runs; 0 if there is none.
    """

    model: Callable[[], PatchableModel]
    pairs: Callable[[], Pairs[Input]]
    target: float = 0


CASES = {
    "BERT-4": Case(lambda: random_bert(4, 4, 128), lambda: random_pairs(256, 24), 3.2),
    "BERT-6": Case(lambda: random_bert(6, 12, 384), lambda: random_pairs(32, 32), 2.5),
    "BERT-12": Case(lambda: random_bert(12, 12, 768), lambda: random_pairs(8, 32), 2.0),
    "BERT-mixed": Case(lambda: random_bert(4, 4, 128), lambda: random_pairs(256, 40, spread=32)),
    "T5": Case(lambda: random_t5(4, 8, 256), lambda: random_pairs(32, 32), 1.7),
    "ViT": Case(lambda: random_vit(6, 6, 192, 32), lambda: random_image_pairs(16, 32), 1.7),
    "ResNet": Case(
        lambda: random_resnet((2, 2, 2), (32, 64, 128), "basic", 64),
        lambda: random_image_pairs(16, 64),
        1.7,
    ),
    "ResNet-bottleneck": Case(
        lambda: random_resnet((3, 4, 3), (64, 128, 256), "bottleneck", 64),
        lambda: random_image_pairs(16, 64),
        1.7,
    ),
}


def main() -> int:
    """Print the table; exit code 1 if a case misses its target."""
    parser = argparse.ArgumentParser(description="Times head patching against plain forwards.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="as torch names it, such as cuda")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--no-peers", action="store_true", help="leave out the other libraries")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    _write(COLUMNS)
    _write(["---"] * len(COLUMNS))
    missed = False
    for name in arguments.only:
        row, ratio = _time(CASES[name], arguments)
        missed |= ratio < CASES[name].target
        _write(row)
    return int(missed)


def record(model: PatchableModel, pairs: Pairs[Input]) -> None:
    """What `patch_heads` does before it patches."""
    plan = plan_nodes(model, model.spec.heads)
    for _ in PairRunner(model, pairs, "noise").chunks(needed_sites(model, plan)):
        pass


def _time(case: Case, arguments: argparse.Namespace) -> tuple[list[str], float]:
    model, pairs = case.model(), case.pairs()
    model = _moved(model, arguments.device)
    lengths = PairRunner(model, pairs, "noise").lengths
    n, chunk = len(pairs), max(len(positions) for positions in model.chunks(lengths))
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_loop(model, pairs, n),
        "plain recording": lambda: plain_loop(model, pairs, n, patch=False),
        "engine": lambda: patch_heads(model, pairs),
        "engine recording": lambda: record(model, pairs),
        "attribution": lambda: attribute_heads(model, pairs),
        "forward": lambda: model.logits(pairs.clean, batch_size=n),
    }
    if chunk < n:
        runs["plain in chunks"] = lambda: plain_loop(model, pairs, chunk)
    if not arguments.no_peers:
        runs |= _peers(model, pairs)
    difference = plain_loop(model, pairs, n) - patch_heads(model, pairs).heads
    least = dict(zip(runs, _least_times(list(runs.values()), arguments), strict=True))
    ratio = (least["plain"] - least["plain recording"]) / (
        least["engine"] - least["engine recording"]
    )

    def times(name: str, default: str = "-") -> str:
        return f"{least['plain'] / least[name]:.2f}" if name in least else default

    return [
        model.name,
        f"{n}x{min(lengths)}-{max(lengths)}"
        if min(lengths) < max(lengths)
        else f"{n}x{lengths[0]}",
        f"{least['plain']:.2f}",
        f"{least['engine']:.2f}",
        f"{ratio:.2f}",
        f"{case.target:.1f}" if case.target else "-",
        times("engine"),
        f"{least.get('plain in chunks', least['plain']) / least['engine']:.2f}",
        f"{_flops(runs['plain']) / _flops(runs['engine']):.2f}",
        times("TransformerLens"),
        times("nnsight"),
        f"{difference.abs().max():.0e}",
        f"{least['attribution'] / least['forward']:.1f}",
    ], ratio


def _peers(model: PatchableModel, pairs: Pairs[Input]) -> dict[str, Callable[[], object]]:
    """The recipes of other libraries that run this model on these pairs."""
    found: dict[str, Callable[[], object]] = {}
    for name, loop in (("TransformerLens", lens_loop), ("nnsight", nnsight_loop)):
        try:
            run = loop(model, pairs)
            run()
        except (CircuitsError, ImportError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            sys.stderr.write(f"{model.name}: {name}: {type(error).__name__}: {reason}\n")
        else:
            found[name] = run
    return found


def _moved(model: PatchableModel, device: str) -> PatchableModel:
    if device == "cpu":
        return model
    hf = model.hf
    torch.nn.Module.to(hf, torch.device(device))
    return PatchableModel(hf, model.processor, model.architecture, model.name)


def _flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _least_times(
    runs: Sequence[Callable[[], object]], arguments: argparse.Namespace
) -> list[float]:
    """Least seconds of each, taken in turns so that a busy moment hits all of them."""
    alone = arguments.device == "cpu" and arguments.threads == 1
    clock = time.process_time if alone else time.perf_counter
    least = [float("inf")] * len(runs)
    for _ in range(arguments.repeats):
        for i, run in enumerate(runs):
            _wait(arguments.device)
            start = clock()
            run()
            _wait(arguments.device)
            least[i] = min(least[i], clock() - start)
    return least


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _write(cells: Sequence[str]) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
