"""Probes: what has to be readable, what must not be, and that no quad is on both sides."""

from pathlib import Path

import numpy as np
import pytest
from modelmaking import make_family, make_inputs

from behavior.errors import DataError
from behavior.resampling import Resamples, resample_units
from patching import load_checkpoint
from probes.folds import assign_folds, smallest_training
from probes.linear import (
    QUESTIONS,
    ProbeAnswers,
    Question,
    probe_quads,
    readability,
    readability_auc,
    right_answers,
    too_few_quads,
)
from probes.stream import pooled_stream, stream_points

N, WIDTH = 120, 6
CORE = np.array([1.0, 1.0, -1.0, -1.0])
SHORTCUT = np.array([1.0, -1.0, 1.0, -1.0])
NAMES = [f"q{i}" for i in range(N)]
TWO = (np.zeros(N, dtype=np.int64), np.ones(N, dtype=np.int64))


def content(seed: int = 0, n: int = N, width: int = WIDTH) -> np.ndarray:
    """Features that differ between quads, and a little within them."""
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, 1, width)) + 0.3 * draw.normal(size=(n, 4, width))


def drawn(names: list[str] = NAMES) -> Resamples:
    return resample_units(names, None, 200, 0)


def values(answers: ProbeAnswers) -> dict[Question, float]:
    return {q: float(right_answers(answers.margins(q), q).mean()) for q in QUESTIONS}


def folds_of(names: list[str] = NAMES) -> np.ndarray:
    return assign_folds(names, [""] * len(names))


def test_a_planted_feature_is_read_without_error() -> None:
    features = content()
    features[..., 0] = CORE
    features[..., 1] = SHORTCUT
    found = values(probe_quads(features, *TWO, folds_of()))
    assert found == {"core_AC": 1.0, "core_NL": 1.0, "transfer": 1.0, "shortcut": 1.0}


def test_the_interval_of_shuffled_labels_covers_chance() -> None:
    covered = dict.fromkeys(QUESTIONS, 0)
    folds = assign_folds(NAMES, [""] * N, n_folds=3)
    for seed in range(100):
        features = content(seed)
        features[..., 0] += 0.2 * CORE
        for first, second in ((0, 2), (1, 3), (0, 1), (2, 3)):
            flipped = np.random.default_rng([seed, first, second]).random(N) < 0.5
            features[np.ix_(flipped, [first, second])] = features[np.ix_(flipped, [second, first])]
        answers = probe_quads(features, *TWO, folds)
        for question in QUESTIONS:
            found = readability(answers.margins(question), question, drawn())
            assert found.low is not None and found.high is not None
            covered[question] += found.low <= 0.5 <= found.high
    assert min(covered.values()) >= 93, covered


def test_a_feature_of_one_row_is_readable_there_alone() -> None:
    features = content()
    features[..., 0] = np.where(SHORTCUT > 0, CORE, 0.0)
    answers = probe_quads(features, *TWO, folds_of())
    assert values(answers)["core_AC"] == 1.0
    for question in ("core_NL", "transfer"):
        found = readability(answers.margins(question), question, drawn())
        assert found.low is not None and found.high is not None
        assert found.low <= 0.5 <= found.high


def test_a_rule_that_reverses_does_not_transfer() -> None:
    features = content()
    features[..., 0] = CORE * SHORTCUT
    found = values(probe_quads(features, *TWO, folds_of()))
    assert found["core_AC"] == found["core_NL"] == 1.0
    assert found["transfer"] == 0.0


def test_a_strong_shortcut_of_many_classes_does_not_hide_the_core() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(10, size=N)
    foil = (label + draw.integers(1, 10, size=N)) % 10
    identity = np.eye(10)
    core = np.stack([label, label, foil, foil], axis=1)
    shortcut = np.stack([label, foil, label, foil], axis=1)
    noise = 0.3 * draw.normal(size=(N, 4, 10))
    features = np.concatenate([identity[core] + noise, 5 * identity[shortcut]], axis=-1)
    seen = values(probe_quads(features, label, foil, folds_of()))
    assert min(seen.values()) > 0.9
    blind = values(probe_quads(features[..., 10:], label, foil, folds_of()))
    assert blind["core_AC"] == blind["core_NL"] == blind["transfer"] == 0.5
    assert blind["shortcut"] == 1.0


def test_exchanging_label_and_foil_exchanges_the_rows_and_flips_the_signs() -> None:
    features = content()
    features[..., 0] += CORE
    label, foil = TWO
    answers = probe_quads(features, label, foil, folds_of())
    swapped = probe_quads(features[:, [3, 2, 1, 0]], foil, label, folds_of())
    np.testing.assert_allclose(swapped.core_AC, -answers.core_NL[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(swapped.shortcut, -answers.shortcut[:, ::-1], atol=1e-6)


def test_quads_that_are_listed_twice_change_nothing() -> None:
    features = content()
    features[..., 0] += 0.2 * CORE
    once = probe_quads(features, *TWO, folds_of())
    names = NAMES + NAMES
    labels = [np.tile(each, 2) for each in TWO]
    twice = probe_quads(np.tile(features, (2, 1, 1)), *labels, folds_of(names))
    for question in QUESTIONS:
        first, second = once.margins(question), twice.margins(question)
        np.testing.assert_allclose(second, np.tile(first, (2, 1)), atol=1e-6)
        both = drawn().over(names)
        for measure in (readability, readability_auc):
            found, again = measure(first, question, drawn()), measure(second, question, both)
            assert (again.value, again.low, again.high) == pytest.approx(
                (found.value, found.low, found.high)
            )
            assert again.n == found.n == N


def test_the_order_of_the_quads_does_not_matter() -> None:
    features, order = content(), np.random.default_rng(1).permutation(N)
    names = [NAMES[i] for i in order]
    found = probe_quads(features, *TWO, folds_of())
    moved = probe_quads(features[order], *TWO, folds_of(names))
    np.testing.assert_allclose(moved.core_AC, found.core_AC[order], atol=1e-6)


@pytest.mark.parametrize("n_templates", [0, 1, 2, 4, 7, 30])
def test_no_quad_and_no_template_is_on_both_sides(n_templates: int) -> None:
    draw = np.random.default_rng(n_templates)
    units = [f"q{i}" for i in draw.integers(60, size=200)]
    templates = [f"t{hash_of(unit) % n_templates}" if n_templates else "" for unit in units]
    folds = assign_folds(units, templates)
    assert len(set(folds.tolist())) == min(5, n_templates if n_templates > 1 else 60)
    kept_together = [units] if n_templates < 2 else [units, templates]
    for groups in kept_together:
        for group in set(groups):
            held_out = {fold for each, fold in zip(groups, folds, strict=True) if each == group}
            assert len(held_out) == 1
    distinct = {unit: fold for unit, fold in zip(units, folds.tolist(), strict=True)}
    largest = max(list(distinct.values()).count(fold) for fold in set(distinct.values()))
    assert smallest_training(units, folds) == len(distinct) - largest


def hash_of(unit: str) -> int:
    return int(unit[1:]) * 7919 % 101


def test_folds_need_two_groups() -> None:
    with pytest.raises(DataError, match="1 quads were given"):
        assign_folds(["q0", "q0"], ["", ""])
    with pytest.raises(DataError, match="1 folds were asked for"):
        assign_folds(NAMES, [""] * N, n_folds=1)


def test_fewer_quads_than_features_are_refused_and_counted_once() -> None:
    names = NAMES[:20]
    folds = folds_of(names)
    assert too_few_quads(8, names, folds) is None
    reason = "too few quads for this width (16 to learn from, 9 features need 18)"
    assert too_few_quads(9, names, folds) == reason
    assert too_few_quads(9, names * 3, folds_of(names * 3)) == reason


def test_the_fewest_quads_that_are_taken_find_nearly_all_that_is_there() -> None:
    found: list[float] = []
    for n in (100, 1000):
        features = content(width=40, n=n)
        features[..., 0] += 2 * CORE
        names = [f"q{i}" for i in range(n)]
        labels = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
        assert too_few_quads(40, names, folds_of(names)) is None
        found.append(values(probe_quads(features, *labels, folds_of(names)))["core_AC"])
    few, many = found
    assert many - 0.10 < few <= many


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "vit", "resnet"])
def test_features_are_the_mean_over_an_input_s_own_positions(family: str, tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    inputs, points = make_inputs(family, 7), stream_points(model)
    found = pooled_stream(model, inputs, points, batch_size=3)
    _, cache = model.run_with_cache(inputs[4:5], [point.site for point in points])
    for point, features in zip(points, found, strict=True):
        alone = cache[point.site].mean(dim=1)[0].numpy()
        np.testing.assert_allclose(features[4], alone, rtol=1e-3, atol=1e-4 * np.abs(alone).max())


def test_progress_counts_every_input(tmp_path: Path) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", "bert"))
    seen: list[tuple[int, int]] = []
    pooled_stream(
        model,
        make_inputs("bert", 5),
        stream_points(model)[:1],
        batch_size=2,
        progress=lambda done, n: seen.append((done, n)),
    )
    assert [done for done, _ in seen] == [2, 4, 5]
    assert {n for _, n in seen} == {5}


def test_margins_at_zero_count_as_the_label() -> None:
    nothing = np.zeros((N, 2), dtype=np.float32)
    found = readability(nothing, "core_AC", drawn())
    assert found.value == 0.5
    assert readability_auc(nothing, "core_AC", drawn()).value == 0.5
