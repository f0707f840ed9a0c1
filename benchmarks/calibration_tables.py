"""The tables of the calibration, in Markdown; each tells which of its targets were missed."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from calibration_runs import (
    BEFORE,
    FEWER,
    N_PAIRS,
    SIZES,
    Aligned,
    Planted,
    Run,
    simulated_runs,
    some_changed,
)
from calibration_shares import (
    covers,
    declared_nodes,
    false_discovery_rate,
    holds,
    largest_change,
    mean_declared,
    names_own,
    names_rightly,
    plain_share,
    proportion,
    recall_of,
    share_of,
    slope_of,
    value_of,
)
from scipy import stats

from behavior.estimates import Estimate
from circuits.compare.diff import DELTA, LEVEL

UNITS = (50, 100, 200)
KEPT = ("preserved", "merged", "split")
COVERED, CLEAN, RECALLED, ORIGIN, SLOPE = 0.93, 0.95, 0.95, 0.95, 0.05


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
            share_of(edge, lambda run, of=of: covers(run, of))
            for of in ("before", "after", "difference")
        ]
        beyond = share_of(edge, lambda run: [c.p < LEVEL for c in run.changes])
        kept = share_of(edge, lambda run: [c.category in KEPT for c in run.changes])
        _row(n, *covered, beyond, kept)
        if min(map(value_of, covered)) < COVERED:
            missed.append(f"coverage at {n} simulated units")
    recalls = " | ".join(f"recall of {size:g}" for size in SIZES[1:])
    _head(
        "Simulated, with changes",
        f"units | declared, a run | true FDR (q < .05) | {recalls} | named rightly",
    )
    for n in UNITS:
        mixed = simulated_runs(rng, n_runs, n, lambda: some_changed(rng))
        found = [recall_of(mixed, size, size) for size in SIZES[1:]]
        rate = false_discovery_rate(mixed, [run.name for run in mixed])
        _row(n, mean_declared(mixed), rate, *found, share_of(mixed, names_rightly))
        if value_of(rate) > LEVEL:
            missed.append(f"FDR at {n} simulated units")
    return missed


def null_table(nulls: Sequence[Run]) -> list[str]:
    """Runs without a difference in which no node is declared changed."""
    missed: list[str] = []
    _head("Null pairs", "pair | runs | tests | nothing declared | preserved | covers 0")
    for kind in dict.fromkeys(run.kind for run in nulls):
        runs = [run for run in nulls if run.kind == kind]
        clean = share_of(runs, lambda run: [run.clean])
        kept = share_of(runs, lambda run: [c.category in KEPT for c in run.changes])
        covered = share_of(runs, lambda run: covers(run, "difference"))
        _row(kind, len(runs), sum(len(run.changes) for run in runs), clean, kept, covered)
        if value_of(clean) < CLEAN:
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
            plain_share([p.found == p.copy.own for p in some]),
            plain_share([p.copy.own <= p.found for p in some]),
            plain_share([largest_change(p.run) in p.copy.own for p in some]),
            plain_share([names_own(p) for p in some]),
            mean_declared([p.run for p in some]),
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
        known = [each for each in tests if each[1].difference.value is not None]
        inside = [holds(change.difference, truth) for _, change, truth in known]
        _row(
            "none" if high < 1e-6 else f"{low:g} to {high:g}",
            len(tests),
            proportion(names, [c.is_change for _, c, _ in tests]),
            proportion(names, [c.category in KEPT for _, c, _ in tests]),
            proportion(names, [c.category == "undetermined" for _, c, _ in tests]),
            proportion([name for name, _, _ in known], inside),
        )
    rate = false_discovery_rate(runs, plants)
    sure = false_discovery_rate(runs, plants, least=DELTA / 2)
    recall = recall_of(runs, SIZES[2], np.inf)
    n_declared = sum(len(declared_nodes(run)) for run in runs)
    print(
        f"\nTrue FDR at q < .05: {_said(rate)} of {n_declared} declared; "
        f"true differences under delta / 2 alone: {_said(sure)}. Recall from {SIZES[2]:g} on: "
        f"{_said(recall)}."
    )
    missed = ["FDR of planted pairs"] if value_of(rate) > LEVEL else []
    return missed + (["recall of planted pairs"] if value_of(recall) < RECALLED else [])


def power_table(planted: Sequence[Planted]) -> None:
    """Share of true differences that are declared, by size and number of pairs."""
    bounds = [*SIZES, np.inf]
    classes = list(pairwise(bounds))
    _head("Power on planted pairs", "pairs | " + " | ".join(f"{a:g} to {b:g}" for a, b in classes))
    for n in (*FEWER, N_PAIRS):
        runs = [each.fewer.get(n, each.run) for each in planted]
        _row(n, *(recall_of(runs, low, high) for low, high in classes))


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
        logits = slope_of(names, [head.logits for _, head in some])
        shares = slope_of(names, [head.shares for _, head in some])
        naive = slope_of(names, [(head.naive, head.shares[1]) for _, head in some])
        _row(label, len(some), logits, shares, naive)
    print("\nlogits: difference of effects on (alpha - 1) x effect; shares: on the difference that")
    print("a head which only adds must show; naive: difference of shares on (alpha - 1) x share.")
    logits = slope_of([name for name, _ in scaled], [head.logits for _, head in scaled])
    return ["slope of all scaled heads"] if abs(value_of(logits) - 1) > SLOPE else []


def alignment_line(aligned: Sequence[Aligned]) -> None:
    """How often heads were matched from their evidence."""
    matched, links = sum(a.matched for a in aligned), sum(a.links for a in aligned)
    right = sum(a.right for a in aligned)
    print(
        f"\nHeads of permuted and scaled copies: matched in {matched} of {len(aligned)};", end=" "
    )
    print(f"{right} of {links} links right.")


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
