"""How well the statistics of the diff hold where the truth is known.

    python benchmarks/calibration.py [--plants 12] [--nulls 200] [--others 1000]
        [--aligned 4] [--minutes 10] [--seed 300000]

*Null pairs*: simulated arrays, two bundled models swapped at random within quads, plants swapped
with their students at random within pairs, plants with permuted heads and rotated values. *Planted
pairs*: 17 copies of each wired plant with one known change (`planted_pairs`), compared through the
known correspondence; true differences are those on other pairs of the same plant.

Shares have Wilson's interval over runs (tests of one run depend on each other); over plants where
tests of planted pairs are counted. Exit code 1 if a target is missed.
"""

import argparse
import sys
import time

import numpy as np
import torch
from calibration_runs import (
    BEFORE,
    N_PAIRS,
    Aligned,
    Planted,
    Run,
    bundled_nulls,
    match,
    permuted_null,
    simulated_runs,
    try_copy,
)
from calibration_tables import (
    UNITS,
    alignment_line,
    change_table,
    null_table,
    power_table,
    simulated_tables,
    size_table,
    slope_table,
)
from null_pairs import BUNDLED
from planted_pairs import FAMILIES, PlantedPairs

SEED = 300_000


def main() -> int:
    """Print all tables; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Puts the diff to pairs whose truth is known.")
    parser.add_argument("--plants", type=int, default=12)
    parser.add_argument("--nulls", type=int, default=200, help="of each simulated or bundled kind")
    parser.add_argument("--others", type=int, default=1000, help="pairs for the true differences")
    parser.add_argument("--aligned", type=int, default=4, help="plants whose heads are matched")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=np.inf, help="no further plant after")
    options = parser.parse_args()
    torch.set_num_threads(1)
    last = options.seed + max(options.plants, 1) - 1
    print(f"Seeds {options.seed} to {last}; {N_PAIRS} pairs or quads; {vars(options)}")
    start = time.monotonic()
    missed: list[str] = []
    nulls: list[Run] = []
    if options.nulls:
        missed += simulated_tables(options.nulls, options.seed)
        nulls += simulated_nulls(options.nulls, options.seed)
        for task in BUNDLED:
            nulls += bundled_nulls(task, options.nulls, options.seed)
    planted: list[Planted] = []
    aligned: list[Aligned] = []
    for number in range(options.plants):
        if time.monotonic() - start > 60 * options.minutes:
            print(f"\nStopped after {number} plants, {options.minutes:g} minutes.")
            break
        pairs = PlantedPairs(
            FAMILIES[number % len(FAMILIES)], options.seed + number, N_PAIRS, options.others
        )
        nulls += [permuted_null(pairs, copy) for copy in pairs.permuted(4)]
        for i, copy in enumerate(pairs.copies()):
            result, null = try_copy(pairs, copy, i)
            planted.append(result)
            nulls.append(null)
            if number < options.aligned and copy.change == "permuted and scaled":
                aligned.append(match(pairs, copy))
        print(f"{pairs.name}: {time.process_time():.0f} s", file=sys.stderr, flush=True)
    missed += null_table(nulls)
    if planted:
        missed += change_table(planted) + size_table(planted, options.others)
        power_table(planted)
        missed += slope_table(planted)
    if aligned:
        alignment_line(aligned)
    print(f"\nMissed: {'; '.join(missed) or 'nothing'}. {time.process_time():.0f} s of one core.")
    return int(bool(missed))


def simulated_nulls(n_runs: int, seed: int) -> list[Run]:
    """Simulated arrays without a difference."""
    rng = np.random.default_rng([seed, 1])
    return [
        run for n in UNITS for run in simulated_runs(rng, n_runs, n, lambda: np.zeros(len(BEFORE)))
    ]


if __name__ == "__main__":
    raise SystemExit(main())
