"""Runs of the diff on pairs whose truth is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from null_pairs import BUNDLED, ArrayPair, bundled_pair, simulate, swapped
from planted_pairs import Copy, PlantedPairs, in_groups, mean_effect, sides_of

from circuits.compare.alignment.align import align_heads
from circuits.compare.changes import NodeChange, NodeGroup
from circuits.compare.diff import DELTA, diff_nodes
from patching import Effects

N_PAIRS = 100
FEWER = (32, 64)
SIZES = (0.02, 0.05, 0.1, 0.2)
"""Bounds of the classes of true differences, in shares of the total range."""
BEFORE = np.repeat((0.0, 0.05, 0.1, 0.3), 5)
"""True shares of the nodes of a simulated teacher."""


@dataclass(frozen=True)
class Run:
    """One pair put to the diff.

    Attributes:
        kind: Row of a table.
        name: Of the simulated array or the plant.
        changes: What the diff says.
        truth: [change] true difference.
        before: [change] true share of the teacher; empty if not known.
    """

    kind: str
    name: str
    changes: Sequence[NodeChange]
    truth: Sequence[float]
    before: Sequence[float] = ()

    @property
    def clean(self) -> bool:
        """Whether no node is declared changed."""
        return not any(change.is_change for change in self.changes)


@dataclass(frozen=True)
class ScaledHead:
    """What scaling a head should change, and what was found.

    Attributes:
        logits: (alpha - 1) times its effect, and the difference of effects, in logits.
        shares: Difference of shares foretold for a head that only adds to the margin, and found.
        naive: (alpha - 1) times its share.
        adds: Whether nothing but a linear classifier reads it, so that it does only add.
    """

    logits: tuple[float, float]
    shares: tuple[float, float]
    naive: float
    adds: bool


@dataclass(frozen=True)
class Planted:
    """One planted copy.

    Attributes:
        run: Of the diff on all pairs.
        fewer: The same on fewer pairs, by their number.
        copy: What was done.
        found: Nodes that were found to answer differently.
        head: Of a scaled head that is in its place.
    """

    run: Run
    fewer: dict[int, Run]
    copy: Copy
    found: frozenset[str]
    head: ScaledHead | None


@dataclass(frozen=True)
class Aligned:
    """One planted copy whose heads were matched from their evidence.

    Attributes:
        matched: Whether heads can be matched at all.
        right: Links that are true.
        links: All links.
    """

    matched: bool
    right: int
    links: int


def simulated_runs(
    rng: np.random.Generator, n_runs: int, n: int, draw: Callable[[], Float[np.ndarray, " node"]]
) -> list[Run]:
    """Simulated arrays of n units with the true differences drawn."""
    found: list[Run] = []
    for number in range(n_runs):
        truth = draw()
        pair = simulate(rng, n, BEFORE, BEFORE + truth)
        changes = _judge(pair, number)
        found.append(
            Run(f"simulated, {n} units", f"{n}-{number}", changes, truth.tolist(), BEFORE.tolist())
        )
    return found


def some_changed(rng: np.random.Generator) -> Float[np.ndarray, " node"]:
    """Two nodes of each size differ; of the others a third each by nothing, delta and -delta."""
    differences = rng.choice((0, DELTA, -DELTA), len(BEFORE))
    sizes = np.repeat(SIZES[1:], 2)
    chosen = rng.permutation(len(BEFORE))[: len(sizes)]
    differences[chosen] = rng.choice((-1, 1), len(chosen)) * sizes
    return differences


def bundled_nulls(task: str, n_runs: int, seed: int) -> list[Run]:
    """Two bundled models, swapped at random within quads, again and again."""
    pair = bundled_pair(task, N_PAIRS, seed)
    rng = np.random.default_rng(seed)
    kind = f"{' and '.join(BUNDLED[task])}, swapped within {len(pair.templates)} quads"
    nothing = [0.0] * (len(pair.groups) * len(pair.teacher.effects))
    return [
        Run(kind, f"{task} {number}", _judge(swapped(rng, pair), number), nothing)
        for number in range(n_runs)
    ]


def permuted_null(pairs: PlantedPairs, copy: Copy) -> Run:
    """A plant against itself with permuted heads and rotated values."""
    changes = _judge(_arrays(pairs, copy, pairs.after(copy)), pairs.seed)
    kind = "plants, heads permuted, values rotated"
    return Run(kind, pairs.name, changes, [0.0] * len(changes))


def try_copy(pairs: PlantedPairs, copy: Copy, number: int) -> tuple[Planted, Run]:
    """One planted copy through the diff, and the same pair swapped at random within pairs."""
    after = pairs.after(copy)
    arrays = _arrays(pairs, copy, after)
    truth = pairs.true_differences(copy)
    rng = np.random.default_rng([pairs.seed, number])
    fewer: dict[int, Run] = {}
    for n in FEWER:
        units = rng.choice(sorted(arrays.templates), n, replace=False)
        part = ArrayPair(arrays.teacher, arrays.student, arrays.groups, dict.fromkeys(units, ""))
        fewer[n] = Run(copy.change, pairs.name, _judge(part, number), truth)
    run = Run(copy.change, pairs.name, _judge(arrays, number), truth)
    null = Run(
        "plants and students, swapped within pairs",
        pairs.name,
        _judge(swapped(rng, _alike(arrays)), number),
        [0.0] * len(truth),
    )
    head = _scaled(pairs, copy, after) if copy.change == "scaled" else None
    return Planted(run, fewer, copy, pairs.own_nodes(copy), head), null


def match(pairs: PlantedPairs, copy: Copy) -> Aligned:
    """Match the heads of a planted copy from their evidence."""
    both = {"core": pairs.pairs, "shortcut": pairs.plant.pairs("shortcut", N_PAIRS)}
    found = align_heads(pairs.plant.model, copy.model, both, seed=pairs.seed)
    right = sum(copy.moved.get(link.teacher, link.teacher) == link.student for link in found.links)
    return Aligned(found.level == "heads", right, len(found.links))


def _judge(pair: ArrayPair, seed: int) -> list[NodeChange]:
    return diff_nodes(
        pair.teacher, pair.student, pair.groups, list(pair.templates), pair.templates, seed=seed
    )


def _arrays(pairs: PlantedPairs, copy: Copy, after: Effects) -> ArrayPair:
    templates = dict.fromkeys(pairs.pairs.units, "")
    return ArrayPair(sides_of(pairs.before), sides_of(after), pairs.groups(copy), templates)


def _alike(pair: ArrayPair) -> ArrayPair:
    """The same with one node for each group, of the same name on both sides."""
    names = [group.student[0] for group in pair.groups]
    sides = [
        type(side)({"core": in_groups(side.effects["core"], nodes, names)}, side.ranges)
        for side, nodes in (
            (pair.teacher, [group.teacher for group in pair.groups]),
            (pair.student, [group.student for group in pair.groups]),
        )
    ]
    groups = [NodeGroup((name,), (name,)) for name in names]
    return ArrayPair(sides[0], sides[1], groups, pair.templates)


def _scaled(pairs: PlantedPairs, copy: Copy, after: Effects) -> ScaledHead:
    (head,) = copy.own
    effect, found = mean_effect(pairs.before, head), mean_effect(after, head)
    sizes = [float((e.clean - e.corrupted).mean()) for e in (pairs.before, after)]
    added = (copy.alpha - 1) * effect
    share = effect / sizes[0]
    foretold = copy.alpha * effect / (sizes[0] + added) - share
    return ScaledHead(
        (added, found - effect),
        (foretold, found / sizes[1] - share),
        added / sizes[0],
        pairs.plant.family == "gpt2" and pairs.is_read_by_classifier_alone(head),
    )
