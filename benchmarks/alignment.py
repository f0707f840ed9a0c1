"""How often heads are matched where they cannot be, and where they can.

    python benchmarks/alignment.py [--runs FOLDER ...] [--seeds 22 23 24] [--pairs 40] [--quads 256]

Independently initialised pairs must come out at level `stages`: trained teachers and students of
any seeds (never two of one shape and one seed, which share their initial weights), plants of
different seeds, and a teacher with an untrained net. Copies with one known change, and students
that started from layers of their teacher, must come out at level `heads`, with the right heads
matched. `--runs` names folders with trained models, as RUNS/<recipe>/seed-<K>; without it, the
models are the bundled ones and the plants. `student-teacher-init` and `vit-student-teacher-init`
start from the teacher's layers 0 and 2.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch

from behavior import load_task
from behavior.intervals import wilson_interval
from circuits.compare.alignment.align import Alignment, align_heads
from circuits.compare.untrained import untrained_like
from circuits.plants import changes, make_plant
from patching import load_checkpoint
from patching.models.model import PatchableModel

TARGET = 0.95
INIT_LAYERS = (0, 2)
TASKS = {"nli-overlap": "", "digits": "vit-"}

Heads = dict[str, set[str]]
"""Student heads that a teacher head may be matched to."""


@dataclass(frozen=True)
class Case:
    """A pair of models and what should be found.

    Attributes:
        family: Row of the table.
        name: Of the pair.
        models: Makes teacher, student and pairs by contrast.
        truth: Which heads belong together; None if none do.
    """

    family: str
    name: str
    models: Callable[[], tuple[PatchableModel, PatchableModel, Any]]
    truth: Callable[[PatchableModel, PatchableModel], Heads] | None


def main() -> int:
    """Print every pair and the table; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Puts head alignment to pairs of known kind.")
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="*", default=[22, 23, 24])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--quads", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shelf = Shelf(options.runs, options.seeds, options.quads)
    rows: dict[str, list[tuple[bool, float | None]]] = {}
    for case in [*shelf.started(), *shelf.independent(options.pairs), *shelf.copies()]:
        start = time.perf_counter()
        teacher, student, pairs = case.models()
        found = align_heads(teacher, student, pairs)
        good = (found.level == "heads") == (case.truth is not None)
        right = None if case.truth is None else share_right(found, case.truth(teacher, student))
        rows.setdefault(case.family, []).append((good, right))
        _print_case(case, found, good, right, time.perf_counter() - start)
    return _print_table(rows)


class Shelf:
    """The models that there are."""

    def __init__(self, runs: list[Path], seeds: list[int], quads: int) -> None:
        self.runs, self.seeds, self.quads = runs, seeds, quads

    def independent(self, n: int) -> list[Case]:
        """Pairs of models that never shared a weight, a fixed draw of those that there are."""
        found: list[list[Case]] = []
        for task, prefix in TASKS.items():
            trained = [self._trained(task, a, b) for a, b in self._unrelated(prefix)]
            random.Random(0).shuffle(trained)
            found.append(trained)
        small = [self._plants(family, seed) for family in ("bert", "gpt2") for seed in (11, 12)]
        named = (("nli-overlap", "teacher"), ("digits", "vit-teacher"))
        small += [self._untrained(*each, seed) for each, seed in product(named, (8, 9))]
        share = (n - len(small)) // 2
        return [*found[0][: n - len(small) - share], *found[1][:share], *small]

    def started(self) -> Iterator[Case]:
        """Students that started from layers of their teacher."""
        for task, prefix in TASKS.items():
            for where in self._places(f"{prefix}student-teacher-init"):
                teacher = self._place(f"{prefix}teacher", int(where.rpartition("-")[2]))
                if teacher is not None:
                    yield Case(
                        "started from the teacher",
                        f"{_short(teacher)} -> {_short(where)}",
                        self._opened(task, teacher, where),
                        _layers_kept(INIT_LAYERS),
                    )

    def copies(self) -> Iterator[Case]:
        """Copies of trained teachers and of plants, with known changes."""
        for task, prefix in TASKS.items():
            for where in self._places(f"{prefix}teacher")[:2]:
                yield from self._copies(
                    _short(where), lambda w=where, t=task: (_load(w), _quads(t, self.quads))
                )
        for family in ("bert", "gpt2", "vit"):
            yield from self._copies(f"{family} plant 11", lambda f=family: _plant(f, 11))

    def _copies(self, name: str, make: Callable[[], tuple[PatchableModel, Any]]) -> Iterator[Case]:
        def case(
            family: str,
            change: Callable[[PatchableModel], tuple[PatchableModel, PatchableModel]],
            truth: Callable[[PatchableModel, PatchableModel], Heads],
        ) -> Case:
            def models() -> tuple[PatchableModel, PatchableModel, Any]:
                model, pairs = make()
                return (*change(model), pairs)

            return Case(family, name, models, truth)

        order = (2, 0, 3, 1)
        yield case(
            "heads permuted, values rotated",
            lambda model: (model, changes.permute_heads(model, "a1", order, seed=3)),
            lambda teacher, _: _permuted(teacher, "a1", order),
        )
        yield case(
            "a layer dropped",
            lambda model: (model, changes.drop_layer(model, 1)),
            _layers_kept((0, 2)),
        )
        yield case(
            "a head split in two",
            lambda model: (model, changes.split_head(model, "a1.h0", "a1.h1", 0.4)),
            lambda teacher, _: _same(teacher) | {"a1.h0": {"a1.h0", "a1.h1"}, "a1.h1": set()},
        )
        yield case(
            "two heads fused",
            lambda model: _fused(model),
            lambda teacher, _: _same(teacher) | {"a1.h1": {"a1.h0"}},
        )

    def _unrelated(self, prefix: str) -> list[tuple[str, str]]:
        teachers = self._places(f"{prefix}teacher")
        students = [
            *self._places(f"{prefix}student"),
            *self._places(f"{prefix}student-debiased"),
            *self._places(f"{prefix}student-plain"),
        ]
        return [*combinations(teachers, 2), *product(teachers, students)]

    def _places(self, recipe: str) -> list[str]:
        if not self.runs:
            return [recipe] if Path("checkpoints", recipe).exists() else []
        found = [self._place(recipe, seed) for seed in self.seeds]
        return [where for where in found if where is not None]

    def _place(self, recipe: str, seed: int) -> str | None:
        folders = (runs / recipe / f"seed-{seed}" for runs in self.runs)
        return next((str(folder) for folder in folders if folder.exists()), None)

    def _opened(
        self, task: str, teacher: str, student: str
    ) -> Callable[[], tuple[PatchableModel, PatchableModel, Any]]:
        return lambda: (_load(teacher), _load(student), _quads(task, self.quads))

    def _trained(self, task: str, teacher: str, student: str) -> Case:
        name = f"{_short(teacher)} -> {_short(student)}"
        family = f"independent, trained, {task}"
        return Case(family, name, self._opened(task, teacher, student), None)

    def _untrained(self, task: str, recipe: str, seed: int) -> Case:
        where = (self._places(recipe) or [recipe])[0]

        def models() -> tuple[PatchableModel, PatchableModel, Any]:
            model = _load(where)
            return model, untrained_like(model, 1000 + seed), _quads(task, self.quads)

        return Case("independent, untrained", f"{_short(where)} -> untrained {seed}", models, None)

    def _plants(self, family: str, seed: int) -> Case:
        def models() -> tuple[PatchableModel, PatchableModel, Any]:
            (model, pairs), (other, _) = _plant(family, seed), _plant(family, seed + 10)
            return model, other, pairs

        return Case("independent, plants", f"{family} {seed} -> {seed + 10}", models, None)


def share_right(found: Alignment, truth: Heads) -> float | None:
    """Share of links that are true; None without links."""
    right = [link.student in truth[link.teacher] for link in found.links]
    return sum(right) / len(right) if right else None


@cache
def _plant(family: str, seed: int) -> tuple[PatchableModel, Any]:
    plant = make_plant("wired", family, seed=seed, n_pairs=24)
    return plant.model, {"core": plant.pairs("core", 96), "shortcut": plant.pairs("shortcut", 96)}


@cache
def _load(where: str) -> PatchableModel:
    return load_checkpoint(where, dtype="float64", check=False)


@cache
def _quads(task: str, n: int) -> Any:
    opened = load_task(task)
    return {c: opened.pairs(c, n=2 * n, seed=818181) for c in ("core", "shortcut")}


def _same(teacher: PatchableModel) -> Heads:
    return {head: {head} for head in teacher.spec.heads}


def _permuted(teacher: PatchableModel, row: str, order: tuple[int, ...]) -> Heads:
    return _same(teacher) | {f"{row}.h{old}": {f"{row}.h{new}"} for new, old in enumerate(order)}


def _layers_kept(layers: tuple[int, ...]) -> Callable[[PatchableModel, PatchableModel], Heads]:
    def truth(teacher: PatchableModel, student: PatchableModel) -> Heads:
        heads: Heads = {head: set() for head in teacher.spec.heads}
        for new, old in enumerate(layers):
            for i in range(student.spec.n_heads):
                heads[f"a{old}.h{i}"] = {f"a{new}.h{i}"}
        return heads

    return truth


def _fused(model: PatchableModel) -> tuple[PatchableModel, PatchableModel]:
    """Two heads with one pattern, and what they do together done by one."""
    split = changes.split_head(model, "a1.h0", "a1.h1", 0.4)
    return split, changes.fuse_heads(split, "a1.h0", "a1.h1")


def _short(where: str) -> str:
    path = Path(where)
    return f"{path.parent.name}-{path.name[5:]}" if path.name.startswith("seed-") else where


def _print_case(
    case: Case, found: Alignment, good: bool, right: float | None, seconds: float
) -> None:
    null = found.null
    assert null is not None, "every model here has attention"
    links = "" if right is None else f"  {right:.0%} of {len(found.links)} links right"
    merged = sum(link.relation != "one" for link in found.links)
    print(
        f"{'' if good else 'WRONG '}{case.family}: {case.name}: {found.level}  excess "
        f"{null.excess.value:.2f} [{null.excess.low:.2f}, {null.excess.high:.2f}]  lead "
        f"{null.lead.value:.2f} [{null.lead.low:.2f}, {null.lead.high:.2f}]{links}"
        f"{f', {merged} shared' if merged else ''}  ({seconds:.0f} s)"
    )
    sys.stdout.flush()


def _print_table(rows: dict[str, list[tuple[bool, float | None]]]) -> int:
    print("\n| pairs | n | level as it must be | links that are right |\n|---|---|---|---|")
    for family, results in rows.items():
        links = [right for _, right in results if right is not None]
        mean = f"{sum(links) / len(links):.3f}" if links else ""
        print(f"| {family} | {len(results)} | {sum(good for good, _ in results)} | {mean} |")
    missed = False
    for independent in (True, False):
        goods = [
            good
            for family, results in rows.items()
            if family.startswith("independent") == independent
            for good, _ in results
        ]
        if goods:
            share = sum(goods) / len(goods)
            low, high = wilson_interval(share, len(goods))
            kind = "independent" if independent else "related"
            print(f"{kind}: {share:.3f} [{low:.3f}, {high:.3f}] right, n = {len(goods)} pairs")
            missed = missed or share < TARGET
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
