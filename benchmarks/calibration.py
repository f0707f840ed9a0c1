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
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from calibration_runs import (
    BEFORE,
    FEWER,
    N_PAIRS,
    SIZES,
    Aligned,
    Planted,
    Run,
    bundled_nulls,
    match,
    permuted_null,
    simulated_runs,
    some_changed,
    try_copy,
)
from null_pairs import BUNDLED
from planted_pairs import FAMILIES, PlantedPairs
from scipy import stats

from behavior.estimates import Estimate
from behavior.intervals import estimate_proportion
from behavior.resampling import resample_units
from behavior.statistics import bootstrap, estimate_means
from circuits.compare.diff import DELTA, LEVEL

SEED = 300_000
UNITS = (50, 100, 200)
KEPT = ("preserved", "merged", "split")
COVERED, CLEAN, RECALLED, ORIGIN, SLOPE = 0.93, 0.95, 0.95, 0.95, 0.05

Tests = Callable[[Run], Iterable[bool]]


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


def simulated_tables(n_runs: int, seed: int) -> list[str]:
    """Coverage, errors on the margin, false discoveries and power on simulated arrays."""
    rng = np.random.default_rng(seed)
    missed: list[str] = []
    _head(
        f"Simulated arrays: {n_runs} runs of {len(BEFORE)} nodes in each row and column",
        "units | covered: before | after | difference | on the margin: p < .05 | preserved",
    )
    for n in UNITS:
        edge = simulated_runs(rng, n_runs, n, lambda: DELTA * rng.choice((-1, 1), len(BEFORE)))
        covered = [
            _share(edge, lambda run, of=of: _covered(run, of))
            for of in ("before", "after", "difference")
        ]
        beyond = _share(edge, lambda run: [c.p < LEVEL for c in run.changes])
        kept = _share(edge, lambda run: [c.category in KEPT for c in run.changes])
        _row(n, *covered, beyond, kept)
        if min(map(_value, covered)) < COVERED:
            missed.append(f"coverage at {n} simulated units")
    recalls = " | ".join(f"recall of {size:g}" for size in SIZES[1:])
    _head(
        "Simulated, with changes",
        f"units | declared, a run | true FDR (q < .05) | {recalls} | named rightly",
    )
    for n in UNITS:
        mixed = simulated_runs(rng, n_runs, n, lambda: some_changed(rng))
        found = [_recall(mixed, size, size) for size in SIZES[1:]]
        rate = _false_discoveries(mixed, [run.name for run in mixed])
        _row(n, _declared(mixed), rate, *found, _share(mixed, _named_rightly))
        if _value(rate) > LEVEL:
            missed.append(f"FDR at {n} simulated units")
    return missed


def null_table(nulls: Sequence[Run]) -> list[str]:
    """Runs without a difference in which no node is declared changed."""
    missed: list[str] = []
    _head("Null pairs", "pair | runs | tests | nothing declared | preserved | covers 0")
    for kind in dict.fromkeys(run.kind for run in nulls):
        runs = [run for run in nulls if run.kind == kind]
        clean = _share(runs, lambda run: [run.clean])
        kept = _share(runs, lambda run: [c.category in KEPT for c in run.changes])
        covered = _share(runs, lambda run: _covered(run, "difference"))
        _row(kind, len(runs), sum(len(run.changes) for run in runs), clean, kept, covered)
        if _value(clean) < CLEAN:
            missed.append(f"clean runs, {kind}")
    return missed


def change_table(planted: Sequence[Planted]) -> list[str]:
    """Whether the changed node is named, by origin and by the largest difference."""
    _head(
        "Planted copies",
        "change | copies | origin exactly right | right node has origin own | "
        "largest difference is the right node | right node declared | declared, a copy",
    )
    kinds = list(dict.fromkeys(each.copy.change for each in planted))
    for kind in (*kinds, "all but fused"):
        some = [p for p in planted if p.copy.change == kind or kind == p.copy.change]
        if kind == "all but fused":
            some = [p for p in planted if p.copy.change != "fused"]
        _row(
            kind,
            len(some),
            _plain([p.found == p.copy.own for p in some]),
            _plain([p.copy.own <= p.found for p in some]),
            _plain([_largest(p.run) in p.copy.own for p in some]),
            _plain([_names_own(p) for p in some]),
            _declared([p.run for p in some]),
        )
    right = [p.found == p.copy.own for p in planted if p.copy.change != "fused"]
    return ["origin"] if np.mean(right) < ORIGIN else []


def size_table(planted: Sequence[Planted], n_others: int) -> list[str]:
    """Recall by true difference, false discoveries, coverage."""
    runs = [each.run for each in planted]
    plants = [run.name for run in runs]
    expected = 2 * stats.norm.cdf(1.96 / np.sqrt(1 + N_PAIRS / n_others)) - 1
    _head(
        f"Planted pairs by true difference ({N_PAIRS} pairs; the truth has an error of its own, "
        f"a perfect interval covers about {expected:.3f})",
        "true difference | tests | declared | preserved | undetermined | covered",
    )
    bounds = [0.0, 1e-9, DELTA / 2, *SIZES, np.inf]
    for low, high in pairwise(bounds):
        tests = [
            (run.name, change, truth)
            for run in runs
            for change, truth in zip(run.changes, run.truth, strict=True)
            if low <= abs(truth) < high
        ]
        names = [name for name, _, _ in tests]
        inside = [_inside(change.difference, truth) for _, change, truth in tests]
        _row(
            "none" if high < 1e-6 else f"{low:g} to {high:g}",
            len(tests),
            _proportion(names, [c.is_change for _, c, _ in tests]),
            _proportion(names, [c.category in KEPT for _, c, _ in tests]),
            _proportion(names, [c.category == "undetermined" for _, c, _ in tests]),
            _proportion(names, inside),
        )
    rate = _false_discoveries(runs, plants)
    sure = _false_discoveries(runs, plants, least=DELTA / 2)
    recall = _recall(runs, SIZES[2], np.inf)
    print(
        f"\nTrue FDR at q < .05: {_said(rate)} of {sum(map(len, map(_named, runs)))} declared; "
        f"true differences under delta / 2 alone: {_said(sure)}. Recall from {SIZES[2]:g} on: "
        f"{_said(recall)}."
    )
    missed = ["FDR of planted pairs"] if _value(rate) > LEVEL else []
    return missed + (["recall of planted pairs"] if _value(recall) < RECALLED else [])


def power_table(planted: Sequence[Planted]) -> None:
    """Share of true differences that are declared, by size and number of pairs."""
    bounds = [*SIZES, np.inf]
    classes = list(pairwise(bounds))
    _head("Power on planted pairs", "pairs | " + " | ".join(f"{a:g} to {b:g}" for a, b in classes))
    for n in (*FEWER, N_PAIRS):
        runs = [each.fewer.get(n, each.run) for each in planted]
        _row(n, *(_recall(runs, low, high) for low, high in classes))


def slope_table(planted: Sequence[Planted]) -> list[str]:
    """Difference found against the difference foretold for a scaled head."""
    scaled = [(each.run.name, each.head) for each in planted if each.head is not None]
    _head("Scaled heads: slope of found against foretold", "heads | n | logits | shares | naive")
    for label, some in (
        ("all", scaled),
        ("read by a linear classifier alone", [each for each in scaled if each[1].adds]),
        ("the others", [each for each in scaled if not each[1].adds]),
    ):
        names = [name for name, _ in some]
        logits = _slope(names, [head.logits for _, head in some])
        shares = _slope(names, [head.shares for _, head in some])
        naive = _slope(names, [(head.naive, head.shares[1]) for _, head in some])
        _row(label, len(some), logits, shares, naive)
    print("\nlogits: difference of effects on (alpha - 1) x effect; shares: on the difference that")
    print("a head which only adds must show; naive: difference of shares on (alpha - 1) x share.")
    logits = _slope([name for name, _ in scaled], [head.logits for _, head in scaled])
    return ["slope of all scaled heads"] if abs(_value(logits) - 1) > SLOPE else []


def alignment_line(aligned: Sequence[Aligned]) -> None:
    """How often heads were matched from their evidence."""
    matched, links = sum(a.matched for a in aligned), sum(a.links for a in aligned)
    right = sum(a.right for a in aligned)
    print(
        f"\nHeads of permuted and scaled copies: matched in {matched} of {len(aligned)};", end=" "
    )
    print(f"{right} of {links} links right.")


def _share(runs: Sequence[Run], tests: Tests) -> Estimate:
    """Share of tests, its interval over runs."""
    found = [(str(i), test) for i, run in enumerate(runs) for test in tests(run)]
    return _proportion([unit for unit, _ in found], [test for _, test in found])


def _plain(hits: Sequence[bool]) -> Estimate:
    return _proportion([str(i) for i in range(len(hits))], hits)


def _proportion(units: Sequence[str], hits: Sequence[bool]) -> Estimate:
    if not units:
        return Estimate.null("no tests")
    return estimate_proportion(np.array(hits)[:, None], resample_units(units, n_resamples=1))


def _recall(runs: Sequence[Run], low: float, high: float) -> Estimate:
    found = [
        (run.name, change.is_change and (change.difference.value or 0) * truth > 0)
        for run in runs
        for change, truth in zip(run.changes, run.truth, strict=True)
        if low <= abs(truth) <= high
    ]
    return _proportion([name for name, _ in found], [hit for _, hit in found])


def _false_discoveries(
    runs: Sequence[Run], units: Sequence[str], least: float = DELTA * (1 + 1e-9)
) -> Estimate:
    """Mean share of declared changes that are smaller than that, or of the other sign."""
    shares: list[float] = []
    for run in runs:
        wrong = [
            abs(truth) < least or truth * (change.difference.value or 0) < 0
            for change, truth in zip(run.changes, run.truth, strict=True)
            if change.is_change
        ]
        shares.append(float(np.mean(wrong)) if wrong else 0.0)
    return estimate_means(np.array(shares)[:, None], resample_units(units))[0]


def _slope(units: Sequence[str], points: Sequence[tuple[float, float]]) -> Estimate:
    if not points:
        return Estimate.null("no heads")
    foretold, found = np.array(points).T
    return bootstrap(
        lambda weights: (weights @ (foretold * found)) / (weights @ foretold**2),
        resample_units(units),
    )


def _covered(run: Run, of: str) -> list[bool]:
    before = run.before or [np.nan] * len(run.truth)
    true = {
        "before": before,
        "after": [b + d for b, d in zip(before, run.truth, strict=True)],
        "difference": run.truth,
    }[of]
    return [_inside(getattr(c, of), t) for c, t in zip(run.changes, true, strict=True)]


def _inside(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None, "there are enough units"
    assert estimate.high is not None, "there are enough units"
    return estimate.low - 1e-9 <= truth <= estimate.high + 1e-9


def _named_rightly(run: Run) -> list[bool]:
    """Whether declared changes of at least the smallest size go the way that they do."""
    return [
        (change.category == "gained") == (before == 0 or truth > 0)
        for change, truth, before in zip(run.changes, run.truth, run.before, strict=True)
        if change.is_change and abs(truth) >= SIZES[1]
    ]


def _named(run: Run) -> list[str]:
    return [change.group.student[0] for change in run.changes if change.is_change]


def _names_own(planted: Planted) -> bool:
    return bool(planted.copy.own.intersection(_named(planted.run)))


def _largest(run: Run) -> str:
    return max(run.changes, key=lambda c: abs(c.difference.value or 0)).group.student[0]


def _declared(runs: Sequence[Run]) -> str:
    return f"{np.mean([len(_named(run)) for run in runs]):.1f}"


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None, "something was counted"
    return estimate.value


def _said(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _head(title: str, columns: str) -> None:
    print(f"\n### {title}\n\n| {columns} |\n|{'---|' * (columns.count('|') + 1)}")


def _row(*cells: object) -> None:
    said = [_said(cell) if isinstance(cell, Estimate) else str(cell) for cell in cells]
    print(f"| {' | '.join(said)} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
