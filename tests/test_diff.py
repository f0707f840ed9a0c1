"""The diff of matched nodes: categories, their statistics, and what theory demands of them."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from behavior.errors import DataError
from behavior.examples import Contrast
from behavior.resampling import resample_units
from behavior.statistics import beyond_test
from circuits.compare.changes import NodeChange, NodeGroup, change_table, origins_added
from circuits.compare.diff import ModelEffects, diff_nodes
from circuits.plants import Plant, changes, make_plant
from patching import Effects, patch_heads

N = 120
UNITS = [f"q{i:03d}" for i in range(N)]
TEMPLATES = {unit: f"t{i % 4}" for i, unit in enumerate(UNITS)}
NODES = ("a0.h0", "a0.h1", "a0.h2")
ALONE = [NodeGroup((node,), (node,)) for node in NODES]


def effects_of(values: np.ndarray, contrast: Contrast = "core") -> Effects:
    """Two pairs a unit, each with the unit's values."""
    rows = np.repeat(values, 2, axis=0)
    units = tuple(unit for unit in UNITS for _ in range(2))
    return Effects(
        values=torch.tensor(rows, dtype=torch.float32),
        nodes=NODES,
        clean=torch.ones(2 * N),
        corrupted=torch.zeros(2 * N),
        units=units,
        templates=tuple(TEMPLATES[unit] for unit in units),
        steps=("",) * (2 * N),
        contrast=contrast,
        direction="noise",
        method="made up",
    )


def model_of(means: Sequence[float], seed: int, size: float = 10.0) -> ModelEffects:
    rng = np.random.default_rng(seed)
    values = size * (np.array(means) + 0.05 * rng.standard_normal((N, 3)))
    ranges = dict(zip(UNITS, size * (1 + 0.1 * rng.standard_normal(N)), strict=True))
    return ModelEffects({"core": effects_of(values)}, ranges)


def diff(
    teacher: ModelEffects, student: ModelEffects, groups: Sequence[NodeGroup] = ALONE
) -> list[NodeChange]:
    return diff_nodes(teacher, student, groups, UNITS, TEMPLATES, n_resamples=500)


def test_each_category_is_given_to_a_change_that_deserves_it() -> None:
    found = diff(model_of((0.4, 0.3, 0.0), 0), model_of((0.25, 0.0, 0.2), 1))
    assert [change.category for change in found] == ["weakened", "lost", "gained"]
    for change, expected in zip(found, (-0.15, -0.3, 0.2), strict=True):
        assert change.difference.value == pytest.approx(expected, abs=0.02)
        assert change.q < 0.05
        assert change.stability is not None
        assert change.stability > 0.95


@pytest.mark.parametrize("noise", [0.004, -0.004])
def test_a_node_that_did_nothing_gains_whatever_the_sign_of_its_noise(noise: float) -> None:
    found = diff(model_of((noise, noise, 0.3), 0), model_of((0.2, -0.2, -0.2), 1))
    assert [change.category for change in found] == ["gained", "gained", "weakened"]


def test_a_model_against_itself_has_changed_nowhere() -> None:
    teacher = model_of((0.4, 0.3, 0.0), 0)
    found = diff(teacher, teacher)
    assert {change.category for change in found} == {"preserved"}
    assert all(change.difference.value == 0 for change in found)


def test_swapping_teacher_and_student_flips_every_difference() -> None:
    one, other = model_of((0.4, 0.3, 0.0), 0), model_of((0.25, 0.3, 0.2), 1)
    there, back = diff(one, other), diff(other, one)
    for a, b in zip(there, back, strict=True):
        assert a.difference.value == pytest.approx(-(b.difference.value or 0))
    assert [c.category for c in there] == ["weakened", "preserved", "gained"]
    assert [c.category for c in back] == ["gained", "preserved", "lost"]


def test_shares_do_not_depend_on_the_scale_of_the_logits() -> None:
    teacher = model_of((0.4, 0.3, 0.1), 0)
    found = diff(teacher, model_of((0.4, 0.3, 0.1), 0, size=200.0))
    assert {change.category for change in found} == {"preserved"}
    assert max(abs(change.difference.value or 0) for change in found) < 1e-6


def test_several_nodes_on_one_side_are_merged_or_split_and_none_is_unalignable() -> None:
    fused, whole = model_of((0.6, 0.0, 0.1), 1), model_of((0.4, 0.2, 0.1), 0)
    groups = [NodeGroup(("a0.h0", "a0.h1"), ("a0.h0",)), NodeGroup(("a0.h2",), ())]
    merged, alone = diff(whole, fused, groups)
    assert (merged.category, alone.category) == ("merged", "unalignable")
    assert alone.stability is None
    assert alone.before.value == pytest.approx(0.1, abs=0.02)
    turned = [NodeGroup(group.student, group.teacher) for group in groups]
    assert diff(fused, whole, turned)[0].category == "split"


def test_what_cannot_be_shown_is_undetermined() -> None:
    rng = np.random.default_rng(0)
    noisy = model_of((0.3, 0.3, 0.3), 2)
    values = noisy.effects["core"].values.double().numpy()[::2]
    loud = values + 6 * rng.standard_normal(values.shape)
    found = diff(noisy, ModelEffects({"core": effects_of(loud)}, noisy.ranges))
    assert "undetermined" in {change.category for change in found}
    assert not any(change.is_change for change in found)


def test_duplicating_every_unit_under_its_own_id_changes_nothing() -> None:
    teacher, student = model_of((0.4, 0.3, 0.0), 0), model_of((0.25, 0.0, 0.2), 1)
    twice = diff_nodes(teacher, student, ALONE, UNITS * 2, TEMPLATES, n_resamples=500)
    assert [c.to_json() for c in twice] == [c.to_json() for c in diff(teacher, student)]


def test_origins_are_added_to_changes_alone() -> None:
    found = diff(model_of((0.4, 0.3, 0.0), 0), model_of((0.25, 0.3, 0.2), 1))
    told = origins_added(found, {"a0.h0": "own", "a0.h1": "own", "a0.h2": "inherited"})
    assert [change.origin for change in told] == ["own", None, "inherited"]
    table = change_table(told)
    assert list(table["category"]) == ["weakened", "preserved", "gained"]
    assert len(table) == 3


def test_two_models_swapped_at_random_within_units_have_not_changed() -> None:
    sides = [model_of((0.4, 0.3, 0.0), 0), model_of((0.1, 0.3, 0.2), 1)]
    values = [side.effects["core"].values.double().numpy()[::2] for side in sides]
    rng = np.random.default_rng(0)
    declared = 0
    for _ in range(20):
        swap = rng.random(N) < 0.5
        mixed = [np.where(swap[:, None], values[1 - i], values[i]) for i in (0, 1)]
        ranges = [
            {u: sides[1 - i if swap[k] else i].ranges[u] for k, u in enumerate(UNITS)}
            for i in (0, 1)
        ]
        found = diff(*(ModelEffects({"core": effects_of(mixed[i])}, ranges[i]) for i in (0, 1)))
        declared += any(change.is_change for change in found)
    assert declared <= 2
    assert all(change.is_change for change in diff(*sides) if change.group.student != ("a0.h1",))


@pytest.mark.parametrize("alpha", [0.5, 1.3])
def test_a_scaled_head_that_only_adds_to_the_margin_changes_as_foretold(alpha: float) -> None:
    plant = small_plant()
    head = next(head for head in plant.model.spec.heads if readers(plant, head) == {"logits"})
    pairs = plant.pairs("core", 24)
    models = (plant.model, changes.scale_head(plant.model, head, alpha))
    effects = [patch_heads(model, pairs) for model in models]
    effect, scaled = (float(each.node(head).mean()) for each in effects)
    assert effect > 0
    assert scaled - effect == pytest.approx((alpha - 1) * effect)
    sizes = [each.clean - each.corrupted for each in effects]
    sides = [
        ModelEffects({"core": found}, dict(zip(found.units, size.tolist(), strict=True)))
        for found, size in zip(effects, sizes, strict=True)
    ]
    found = diff_nodes(
        *sides, [NodeGroup((head,), (head,))], pairs.units, dict.fromkeys(pairs.units, "")
    )
    size = float(sizes[0].mean())
    expected = alpha * effect / (size + (alpha - 1) * effect) - effect / size
    assert found[0].difference.value == pytest.approx(expected)


@cache
def small_plant() -> Plant:
    return make_plant("wired", "gpt2", seed=0, n_pairs=24)


def readers(plant: Plant, writer: str) -> set[str]:
    edges = (edge.partition("->") for edge in plant.wiring.edges())
    return {reader for name, _, reader in edges if name == writer}


def without_range(model: ModelEffects) -> ModelEffects:
    """The same effects of a model whose margins of A and L do not differ."""
    noise = np.random.default_rng(5).standard_normal(N)
    return ModelEffects(
        model.effects, dict(zip(UNITS, (noise - noise.mean()).tolist(), strict=True))
    )


@pytest.mark.parametrize("which", ["teacher", "student"])
def test_a_model_without_a_range_leaves_every_node_undetermined(which: str) -> None:
    sides = {"teacher": model_of((0.4, 0.3, 0.0), 0), "student": model_of((0.1, 0.3, 0.2), 1)}
    other = "student" if which == "teacher" else "teacher"
    sides[which] = without_range(sides[which])
    found = diff(sides["teacher"], sides["student"], [*ALONE, NodeGroup(("a0.h2",), ())])
    assert [change.category for change in found] == ["undetermined"] * 3 + ["unalignable"]
    for change in found:
        stored = change.to_json()
        assert change.difference.value is None
        assert change.difference.reason == f"{which}: the model does not respond to either cue"
        kept = stored["before" if other == "teacher" else "after"]
        assert isinstance(kept, dict) and kept["value"] is not None
        assert (change.q, change.stability) == (1.0, None)
    table = change_table(found)
    assert table["difference"].isna().all()


def test_a_change_that_seeds_show_as_well_is_not_declared() -> None:
    teacher, student = model_of((0.4, 0.3, 0.0), 0), model_of((0.25, 0.3, 0.2), 1)
    twin = model_of((0.2, 0.3, 0.0), 2)
    plain = diff(teacher, student)
    assert [change.category for change in plain] == ["weakened", "preserved", "gained"]
    assert {change.delta for change in plain} == {0.02}
    for twins in (([twin], []), ([], [model_of((0.05, 0.3, 0.2), 2)])):
        found = diff_nodes(teacher, student, ALONE, UNITS, TEMPLATES, twins=twins, n_resamples=500)
        assert [change.category for change in found] == ["undetermined", "preserved", "gained"]
        assert found[0].delta == pytest.approx(0.2, abs=0.03)
        assert found[1].delta == pytest.approx(0.02, abs=0.01)
        assert found[0].difference == plain[0].difference


def test_equal_twins_change_nothing_and_twins_never_make_nodes_preserved() -> None:
    teacher, student = model_of((0.4, 0.3, 0.0), 0), model_of((0.3, 0.3, 0.2), 1)
    same = diff_nodes(
        teacher, student, ALONE, UNITS, TEMPLATES, twins=([teacher], [student]), n_resamples=500
    )
    assert [c.to_json() for c in same] == [c.to_json() for c in diff(teacher, student)]
    far = model_of((0.0, 0.3, 0.0), 2)
    found = diff_nodes(
        teacher, student, ALONE, UNITS, TEMPLATES, twins=([far], []), n_resamples=500
    )
    assert found[0].category == "undetermined"


def test_units_that_were_not_measured_are_named() -> None:
    teacher = model_of((0.4, 0.3, 0.0), 0)
    with pytest.raises(DataError, match="Unit 'q999' was not measured on both models"):
        diff_nodes(teacher, teacher, ALONE, [*UNITS, "q999"], TEMPLATES | {"q999": ""})


def test_a_mean_on_the_margin_is_declared_beyond_it_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(0)
    drawn = resample_units([str(i) for i in range(60)], n_resamples=500)
    values = 0.02 + 0.1 * (rng.exponential(size=(60, 400)) - 1)
    declared = (beyond_test(values, 0.02, drawn) < 0.05).mean()
    assert 0.02 < declared < 0.09
    inside = (beyond_test(values - 0.02, 0.02, drawn) < 0.05).mean()
    assert inside < declared
    at_zero = (beyond_test(values - 0.02, 0.0, drawn) < 0.05).mean()
    assert 0.02 < at_zero < 0.10
