"""Times the per-example scores of all edges against two forwards and one backward.

    python benchmarks/edge_scores.py [--repeats 3] [--threads 1] [--pairs 4] [--tokens 32]

EAP on a random BERT of base size (12 layers x 12 heads x 768, 32,491 edges): two recorded runs, one
backward, the changes of all writers carried along the stream, and their product with the gradients
at all readers, for each pair. The plain side runs both inputs and takes the margins' gradient at
the embeddings. Processor time on one thread, else wall time; the least of the repeats counts.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable

import torch
from random_models import random_bert, random_pairs

from circuits.discovery import METHODS
from circuits.discovery.edge_runs import EdgeRunner
from circuits.graph import Graph

TARGET = 1.5


def main() -> int:
    """Print the ratio; exit code 1 if it misses the target."""
    parser = argparse.ArgumentParser(description="Times edge scores against plain runs.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--size", type=int, nargs=3, default=(12, 12, 768), metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = random_bert(*arguments.size)
    pairs = random_pairs(arguments.pairs, arguments.tokens)
    runner = EdgeRunner(model, pairs)
    rows = list(range(len(pairs)))
    clean, corrupted = (runner.batch(rows, side) for side in (True, False))
    (entry,) = runner.entries()

    def plain() -> None:
        model.forward(corrupted)
        leaves: list[torch.Tensor] = []

        def as_leaf(value: torch.Tensor) -> torch.Tensor:
            leaves.append(value.detach().requires_grad_())
            return leaves[0]

        with torch.enable_grad(), model.hooks.editing({entry: as_leaf}):
            margins = runner.runner.margins(model.call(clean), rows)
        torch.autograd.grad(margins.sum(), leaves)

    def edges() -> None:
        METHODS["eap"](model, pairs, batch_size=arguments.pairs)

    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    plain()
    before = _peak()
    edges()
    grown = _peak() - before
    times = [(_time(plain, clock), _time(edges, clock)) for _ in range(arguments.repeats)]
    reference, scored = (min(column) for column in zip(*times, strict=True))
    print(f"{model.name}, {len(Graph.of(model)):,} edges, {len(pairs)} pairs x {arguments.tokens}")
    print(f"two forwards and one backward  {reference:.2f} s")
    ratio = scored / reference
    print(f"scores of all edges            {scored:.2f} s, {ratio:.2f} times (target {TARGET})")
    print(f"peak memory beyond the plain   {grown:.0f} MB")
    return int(ratio > TARGET)


def _time(action: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    action()
    return clock() - start


def _peak() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    raise SystemExit(main())
