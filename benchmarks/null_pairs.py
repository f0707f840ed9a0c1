"""Pairs between which nothing differs: simulated arrays, and two models swapped at random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from behavior import load_task
from behavior.examples import CONTRASTS, Contrast, Pairs
from circuits.compare.changes import NodeGroup
from circuits.compare.diff import ModelEffects
from patching import Effects, load_checkpoint, patch_nodes
from patching.models.model import PatchableModel

N_TEMPLATES = 4
BUNDLED = {
    "nli-overlap": ("teacher", "teacher-plain"),
    "digits": ("vit-teacher", "vit-teacher-plain"),
}


@dataclass(frozen=True)
class ArrayPair:
    """Two models as the diff sees them.

    Attributes:
        teacher: One side.
        student: The other.
        groups: Which nodes belong together.
        templates: By unit.
    """

    teacher: ModelEffects
    student: ModelEffects
    groups: Sequence[NodeGroup]
    templates: Mapping[str, str]


def simulate(
    rng: np.random.Generator,
    n_units: int,
    before: Float[np.ndarray, " node"],
    after: Float[np.ndarray, " node"],
) -> ArrayPair:
    """Skewed effects in templates, whose true shares of the range are known.

        effect = size * (share * f(template, node) * x * u + noise)
        range  = size * g(template) * v * u

    x is exponential and half of it the same in both models, u (by unit, the same in both) and v are
    gamma with shape 4, the noise is a centred exponential of .05; all but the noise have mean 1, f
    and g over the templates. The student's size is three times the teacher's.

    Args:
        rng: Of everything.
        n_units: In equal templates.
        before: True shares in the teacher.
        after: The same in the student.
    """
    n_nodes, template = len(before), np.arange(n_units) % N_TEMPLATES
    factors = rng.lognormal(0, 0.5, (N_TEMPLATES, n_nodes))
    factors /= factors.mean(0)
    sizes = rng.lognormal(0, 0.3, N_TEMPLATES)
    sizes /= sizes.mean()
    unit = rng.gamma(4, 1 / 4, n_units)
    shared = rng.gamma(0.5, 1, (n_units, n_nodes))
    sides: list[ModelEffects] = []
    names = [f"u{i:04d}" for i in range(n_units)]
    for size, share in ((10.0, before), (30.0, after)):
        carried = factors[template] * (shared + rng.gamma(0.5, 1, shared.shape)) * unit[:, None]
        noise = 0.05 * (rng.exponential(size=shared.shape) - 1)
        ranges = size * sizes[template] * unit * rng.gamma(4, 1 / 4, n_units)
        effects = _effects(size * (share * carried + noise), names)
        sides.append(ModelEffects({"core": effects}, dict(zip(names, ranges, strict=True))))
    nodes = sides[0].effects["core"].nodes
    templates = {name: f"t{k}" for name, k in zip(names, template, strict=True)}
    return ArrayPair(*sides, [NodeGroup((node,), (node,)) for node in nodes], templates)


def swapped(rng: np.random.Generator, pair: ArrayPair) -> ArrayPair:
    """Teacher and student exchanged in each unit with probability one half, range and all.

    Both sides must have the same nodes in the same order.
    """
    chosen = {unit for unit in sorted(pair.templates) if rng.random() < 0.5}

    def mixed(mine: ModelEffects, theirs: ModelEffects) -> ModelEffects:
        effects: dict[Contrast, Effects] = {
            contrast: _mixed(found, theirs.effects[contrast], chosen)
            for contrast, found in mine.effects.items()
        }
        ranges = {u: theirs.ranges[u] if u in chosen else r for u, r in mine.ranges.items()}
        return ModelEffects(effects, ranges)

    return replace(
        pair,
        teacher=mixed(pair.teacher, pair.student),
        student=mixed(pair.student, pair.teacher),
    )


def bundled_pair(task: str, n_quads: int, seed: int) -> ArrayPair:
    """The debiased and the plain teacher on fresh quads, nodes of the same name together.

    The range of a quad is the mean core step plus the mean shortcut step, which is the margin of A
    minus that of L.
    """
    opened = load_task(task)
    pairs: dict[Contrast, Pairs] = {
        contrast: opened.pairs(contrast, n=2 * n_quads, seed=seed) for contrast in CONTRASTS
    }
    models = [load_checkpoint(name, dtype="float64", check=False) for name in BUNDLED[task]]
    sides = [_measured(model, pairs) for model in models]
    core = sides[0].effects["core"]
    templates = {
        unit: template
        for unit, template in zip(core.units, core.templates, strict=True)
        if unit in sides[0].ranges
    }
    groups = [NodeGroup((node,), (node,)) for node in core.nodes]
    return ArrayPair(sides[0], sides[1], groups, templates)


def _measured(model: PatchableModel, pairs: Mapping[Contrast, Pairs]) -> ModelEffects:
    nodes = (*model.spec.heads, *model.spec.mlps)
    effects: dict[Contrast, Effects] = {
        contrast: patch_nodes(model, given, nodes) for contrast, given in pairs.items()
    }
    steps = [_mean_steps(found) for found in effects.values()]
    both = sorted(set(steps[0]) & set(steps[1]))
    return ModelEffects(effects, {unit: steps[0][unit] + steps[1][unit] for unit in both})


def _mean_steps(effects: Effects) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    steps = (effects.clean - effects.corrupted).tolist()
    for unit, step in zip(effects.units, steps, strict=True):
        found.setdefault(unit, []).append(step)
    return {unit: float(np.mean(values)) for unit, values in found.items() if len(values) == 2}


def _mixed(mine: Effects, theirs: Effects, chosen: set[str]) -> Effects:
    exchanged = torch.tensor([unit in chosen for unit in mine.units])[:, None]
    return replace(mine, values=torch.where(exchanged, theirs.values, mine.values))


def _effects(values: Float[np.ndarray, "unit node"], names: Sequence[str]) -> Effects:
    n_units, n_nodes = values.shape
    return Effects(
        values=torch.from_numpy(values),
        nodes=tuple(f"a{j // 4}.h{j % 4}" for j in range(n_nodes)),
        clean=torch.ones(n_units),
        corrupted=torch.zeros(n_units),
        units=tuple(names),
        templates=("",) * n_units,
        steps=("",) * n_units,
        contrast="core",
        direction="noise",
        method="simulated",
    )
