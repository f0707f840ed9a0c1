"""Peak memory of patching few and many pairs: it must not grow with their number.

    python benchmarks/memory.py [--pairs 1000 10000] [--size 2x4x64] [--tokens 24]

Each number of pairs has a process of its own, which makes a random model, patches every head of
every pair and reports the peak of its resident memory, with the pairs themselves and without the
results (one number for each pair and head). Exit code 1 if the peak of the most pairs is more
than 1.2 times that of the fewest.
"""

import argparse
import json
import resource
import subprocess
import sys

import torch
from random_models import random_bert, random_pairs

from patching.activation import patch_heads

LIMIT = 1.2
MEGABYTE = 2**20


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Peak memory of few and many pairs.")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--size", default="2x4x64", help="LAYERSxHEADSxWIDTH")
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        sys.stdout.write(json.dumps(measure(arguments.measure, arguments.size, arguments.tokens)))
        return 0
    sys.stdout.write("| pairs | model loaded, MB | peak, MB | results, MB | peak without, MB |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- |\n")
    peaks: list[float] = []
    for n in arguments.pairs:
        found = _in_own_process(n, arguments.size, arguments.tokens)
        peaks.append(found["peak"] - found["results"])
        cells = (found["loaded"], found["peak"], found["results"], peaks[-1])
        sys.stdout.write(f"| {n} | {' | '.join(f'{cell:.1f}' for cell in cells)} |\n")
    ratio = peaks[-1] / peaks[0]
    sys.stdout.write(f"\nratio {ratio:.3f}, at most {LIMIT}\n")
    return int(ratio > LIMIT)


def measure(n_pairs: int, size: str, n_tokens: int) -> dict[str, float]:
    """Resident memory of this process, in MB: with the model, at the peak, and of the results."""
    torch.set_num_threads(1)
    model = random_bert(*(int(number) for number in size.split("x")))
    loaded = _peak()
    effects = patch_heads(model, random_pairs(n_pairs, n_tokens, spread=6))
    results = effects.values.nbytes + effects.clean.nbytes + effects.corrupted.nbytes
    return {"loaded": loaded, "peak": _peak(), "results": results / MEGABYTE}


def _in_own_process(n_pairs: int, size: str, n_tokens: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(n_pairs)]
    command += ["--size", size, "--tokens", str(n_tokens)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def _peak() -> float:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / MEGABYTE


if __name__ == "__main__":
    raise SystemExit(main())
