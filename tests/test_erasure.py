"""Erasure: a map that blinds linear probes, what the model then does, and what is said of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import TWO_WAY, write_quads
from modelmaking import make_family

from behavior.estimates import Estimate
from behavior.examples import CELLS
from behavior.readout import read_labels
from behavior.resampling import resample_units
from behavior.tasks import load_task
from patching import load_checkpoint
from probes.erasure import (
    CONCEPTS,
    Concept,
    concept_targets,
    cue_effects,
    erased_margins,
    fit_eraser,
    random_eraser,
    read_after,
    removed_variance,
)
from probes.erasure_profile import ErasureQuads, erase_by_stage
from probes.stream import pooled_stream, stream_points
from probes.use import Use, UsePair, compare_use, decide_use

N, WIDTH = 200, 6
CORE = np.array([1.0, 1.0, -1.0, -1.0])
SHORTCUT = np.array([1.0, -1.0, 1.0, -1.0])
LABEL, FOIL = np.zeros(N, dtype=np.int64), np.ones(N, dtype=np.int64)
TESTED = np.arange(N) % 2 == 1


def planted(seed: int = 0) -> np.ndarray:
    """Core and shortcut along two oblique directions, in features that go along with each other."""
    draw = np.random.default_rng(seed)
    mixed = draw.normal(size=(N, 4, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH))
    first, second = draw.normal(size=(2, WIDTH))
    return mixed + 4 * CORE[:, None] * first + 4 * SHORTCUT[:, None] * (second + first)


def hits(features: np.ndarray, concept: Concept, *, erase: Concept | None) -> float:
    eraser = None
    if erase is not None:
        targets = concept_targets(LABEL, FOIL, erase)
        eraser = fit_eraser(features[~TESTED], targets[~TESTED])
    return float(read_after(eraser, features, LABEL, FOIL, TESTED, concept).mean())


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_probe_reads_a_feature_before_the_erasure_and_is_at_chance_after_it(
    concept: Concept,
) -> None:
    features = planted()
    assert hits(features, concept, erase=None) > 0.95
    assert abs(hits(features, concept, erase=concept) - 0.5) < 0.08


@pytest.mark.parametrize("concept", CONCEPTS)
def test_erasing_one_feature_leaves_the_other_readable(concept: Concept) -> None:
    other: Concept = "shortcut" if concept == "core" else "core"
    assert hits(planted(), other, erase=concept) > 0.95


def test_on_its_own_quads_nothing_goes_along_with_what_was_erased() -> None:
    features = planted()
    for concept in CONCEPTS:
        targets = concept_targets(LABEL, FOIL, concept).reshape(4 * N, -1)
        eraser = fit_eraser(features.reshape(4 * N, -1), targets)
        left = eraser(torch.from_numpy(features)).numpy().reshape(4 * N, -1)
        covariance = (left - left.mean(axis=0)).T @ targets / len(left)
        assert np.abs(covariance).max() < 1e-8


def test_erasing_twice_is_erasing_once_and_the_mean_stays() -> None:
    features = torch.from_numpy(planted())
    eraser = fit_eraser(planted(), concept_targets(LABEL, FOIL, "core"))
    once = eraser(features)
    torch.testing.assert_close(eraser(once), once, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(once.mean((0, 1)), features.mean((0, 1)), rtol=1e-8, atol=1e-8)


def test_where_a_map_leaves_rounding_alone_nothing_is_read_in_it() -> None:
    draw = np.random.default_rng(0)
    few = np.stack([CORE + 0.5 * draw.normal(size=(N, 4)), SHORTCUT * CORE * draw.random((N, 4))])
    features = np.einsum("fqc,fd->qcd", few, draw.normal(size=(2, 5))).astype(np.float32)
    assert hits(features, "core", erase=None) > 0.9
    eraser = fit_eraser(features[~TESTED], concept_targets(LABEL, FOIL, "core")[~TESTED])
    assert eraser.rank == 2 and removed_variance(eraser, features) == pytest.approx(1.0, abs=1e-6)
    assert hits(features, "core", erase="core") == 0.5


def test_ranks_are_those_of_the_concepts_and_random_maps_take_as_many() -> None:
    ranks: dict[Concept, int] = {"core": 2, "shortcut": 1}
    for concept, rank in ranks.items():
        assert fit_eraser(planted(), concept_targets(LABEL, FOIL, concept)).rank == rank
        other = random_eraser(planted(), rank, np.random.default_rng(1))
        assert other.rank == rank
        assert 0 < removed_variance(other, planted()) < 1


def test_a_random_map_leaves_a_feature_that_is_one_of_many_directions() -> None:
    draw = np.random.default_rng(3)
    wide = np.concatenate([planted(), draw.normal(size=(N, 4, 40))], axis=2)
    other = random_eraser(wide[~TESTED], 1, np.random.default_rng(1))
    assert read_after(other, wide, LABEL, FOIL, TESTED, "core").mean() > 0.9


def test_random_maps_depend_on_the_generator_alone() -> None:
    one, same, other = (
        random_eraser(planted(), 2, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    x = torch.from_numpy(planted())
    assert torch.equal(one(x), same(x))
    assert not torch.allclose(one(x), other(x))


def test_with_many_classes_core_and_shortcut_are_erased_apart() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(5, size=N)
    foil = (label + draw.integers(1, 5, size=N)) % 5
    identity = np.eye(5)
    core = identity[np.stack([label, label, foil, foil], axis=1)]
    shortcut = identity[np.stack([label, foil, label, foil], axis=1)]
    features = np.concatenate([core, shortcut], axis=2) + 0.1 * draw.normal(size=(N, 4, 10))
    eraser = fit_eraser(features[~TESTED], concept_targets(label, foil, "core")[~TESTED])
    assert eraser.rank >= 4
    before, after = (
        read_after(each, features, label, foil, TESTED, "core").mean() for each in (None, eraser)
    )
    assert before > 0.95 and abs(after - 0.5) < 0.1
    assert read_after(eraser, features, label, foil, TESTED, "shortcut").mean() > 0.9


@pytest.mark.parametrize("family", ["bert", "t5", "gpt2"])
def test_a_map_that_erases_nothing_changes_nothing_in_the_model(
    family: str, tmp_path: Path
) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    quads = load_task("quads", path=write_quads(tmp_path / "q.jsonl", 6)).quads(6)
    readout = read_labels(model.spec.classes, ("entailment", "non-entailment"))
    point = stream_points(model)[-2]
    draw = np.random.default_rng(0).normal(size=(50, model.spec.d_model))
    eraser = fit_eraser(draw, draw[:, :1])
    intact = erased_margins(model, quads, readout, point, None)
    changed = erased_margins(model, quads, readout, point, eraser)
    nothing = fit_eraser(draw, np.zeros((50, 1)))
    assert nothing.rank == 0
    same = erased_margins(model, quads, readout, point, nothing)
    np.testing.assert_allclose(same, intact, rtol=1e-5, atol=1e-5)
    assert not np.allclose(changed, intact, atol=1e-4)


def test_effects_of_the_cues_are_those_of_the_quad() -> None:
    sure = 40.0
    found = cue_effects(np.array([[sure, sure, -sure, -sure], [sure, -sure, sure, -sure]]))
    np.testing.assert_allclose(found["core"], [1.0, 0.0])
    np.testing.assert_allclose(found["shortcut"], [0.0, 1.0])


def test_every_stage_gets_both_concepts_with_intervals(tmp_path: Path) -> None:
    folder = make_family(tmp_path / "model", "bert", hidden_size=12, intermediate_size=24)
    model = load_checkpoint(folder)
    quads = load_task("quads", path=write_quads(tmp_path / "q.jsonl", 60)).quads(60)
    tested = np.arange(60) % 2 == 1
    ids = [quad.id for quad, held in zip(quads, tested, strict=True) if held]
    label, foil = np.zeros(60, dtype=np.int64), np.ones(60, dtype=np.int64)
    given = ErasureQuads(quads, label, foil, tested, resample_units(ids, None, 50))
    points = stream_points(model)[-1:]
    inputs = [quad.cell(cell) for quad in quads for cell in CELLS]
    features = [
        each.reshape(60, 4, -1) for each in pooled_stream(model, inputs, points, batch_size=50)
    ]
    seen: list[int] = []
    readout = read_labels(model.spec.classes, TWO_WAY)
    told = {"draws": 2, "progress": lambda done, _total: seen.append(done)}
    found = erase_by_stage(model, given, readout, points, features, **told)
    assert [(each.point.name, each.concept) for each in found] == [
        (point.name, concept) for point in points for concept in CONCEPTS
    ]
    assert seen == [1, 2]
    for each in found:
        if each.rank:
            assert each.drop.n == 30 and each.drop.low is not None and each.drop.value is not None
            own = each.effects[each.concept]
            assert each.drop.value == pytest.approx(
                (own["random"].value or 0) - (own["erased"].value or 0)
            )
            assert each.drop.low < each.drop.value
    few = erase_by_stage(
        model, given, readout, points[:1], [np.repeat(features[0], 2, axis=2)], draws=2
    )
    assert few[0].rank == 0 and few[0].use == "undecided"
    assert str(few[0].drop.reason).startswith("too few quads for this width")


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 100)


@pytest.mark.parametrize(
    ("before", "after", "change", "drop", "answer"),
    [
        ((0.48, 0.56), (0.45, 0.55), (0.30, 0.50), (0.30, 0.50), "not decodable"),
        ((0.80, 0.90), (0.56, 0.66), (0.30, 0.50), (0.30, 0.50), "not erased"),
        ((0.80, 0.90), (0.46, 0.54), (0.10, 0.50), (0.06, 0.50), "used"),
        ((0.80, 0.90), (0.46, 0.54), (-0.04, 0.04), (-0.30, 0.04), "decodable but unused"),
        ((0.80, 0.90), (0.46, 0.54), (0.70, 0.90), (-0.02, 0.02), "undecided"),
        ((0.80, 0.90), (0.46, 0.54), (-0.04, 0.04), (0.30, 0.50), "decodable but unused"),
        ((0.80, 0.90), (0.46, 0.54), (-0.30, -0.10), (-0.30, -0.10), "undecided"),
    ],
)
def test_the_answer_follows_from_four_intervals(
    before: tuple[float, float],
    after: tuple[float, float],
    change: tuple[float, float],
    drop: tuple[float, float],
    answer: Use,
) -> None:
    assert decide_use(*(estimate(*each) for each in (before, after, change, drop))) == answer


def test_without_numbers_nothing_is_decided() -> None:
    known, missing = estimate(0.8, 0.9), Estimate.null("not measured")
    for place in range(4):
        given = [missing if i == place else known for i in range(4)]
        assert decide_use(*given) == "undecided"


@pytest.mark.parametrize(
    ("teacher", "student", "answer"),
    [
        ("used", "used", "used in both"),
        ("used", "not decodable", "used by the teacher, lost in the student"),
        (
            "used",
            "decodable but unused",
            "used by the teacher, decodable but unused in the student",
        ),
        ("not decodable", "used", "used by the student alone"),
        ("decodable but unused", "used", "used by the student alone"),
        ("not decodable", "decodable but unused", "used in neither"),
        ("not erased", "used", "undecided"),
        ("used", "undecided", "undecided"),
    ],
)
def test_two_answers_make_one(teacher: Use, student: Use, answer: UsePair) -> None:
    assert compare_use(teacher, student) == answer
