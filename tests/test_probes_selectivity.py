"""Control tasks and nested probes: who can only remember is told from who has read something."""

import numpy as np
import pytest

from behavior.examples import Cell, Quad, TextInput
from behavior.resampling import Resamples, resample_units
from probes.folds import assign_folds
from probes.linear import QUESTIONS, probe_quads, right_answers
from probes.nested import probe_quads_nested
from probes.selectivity import (
    Control,
    Selectivity,
    measure_selectivity,
    quad_signs,
    word_signs,
)

N, WIDTH = 120, 6
NAMES = [f"q{i}" for i in range(N)]
CORE = np.array([1.0, 1.0, -1.0, -1.0])
SHORTCUT = np.array([1.0, -1.0, 1.0, -1.0])
LABEL, FOIL = np.zeros(N, dtype=np.int64), np.ones(N, dtype=np.int64)
FOLDS = assign_folds(NAMES, [""] * N)
TRIED = (1e-2, 1.0)
NOUNS = ("doctor", "nurse", "judge", "lawyer", "actor", "banker")


def drawn() -> Resamples:
    return resample_units(NAMES, None, 100)


def content(width: int = WIDTH, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(N, 1, width)) + 0.3 * draw.normal(size=(N, 4, width))


def of_quads(features: np.ndarray, control: Control) -> Selectivity:
    return measure_selectivity(features, LABEL, FOIL, control, quad_signs(N), drawn())


def test_a_planted_core_is_selective_and_random_signs_of_quads_are_not_learned() -> None:
    features = content()
    features[..., 0] = CORE
    found = of_quads(features, "core_quad")
    assert found.accuracy.value == 1.0 and found.accuracy.n == N
    assert found.control.value is not None and abs(found.control.value - 0.5) < 0.06
    assert found.selectivity.low is not None and found.selectivity.low > 0.4
    assert found.selectivity.value == pytest.approx(1.0 - found.control.value)


def test_features_that_name_every_quad_let_the_probe_remember_any_signs() -> None:
    draw = np.random.default_rng(0)
    own = draw.normal(size=(N, 1, 2 * N)) * CORE[:, None]
    found = of_quads(own + 0.01 * draw.normal(size=(N, 4, 2 * N)), "core_quad")
    assert found.control.low is not None and found.control.low > 0.9
    assert found.selectivity.low is not None and found.selectivity.low < 0.1


def test_the_shortcut_has_a_control_of_its_own() -> None:
    features = content()
    features[..., 0] = SHORTCUT
    shortcut, core = of_quads(features, "shortcut_quad"), of_quads(features, "core_quad")
    assert shortcut.accuracy.value == 1.0
    assert shortcut.selectivity.low is not None and shortcut.selectivity.low > 0.4
    assert core.selectivity.low is not None and core.selectivity.low < 0.1


def texts() -> list[Quad[TextInput]]:
    """The core says who comes first; a word is a direction of its own in `word_features`."""
    draw = np.random.default_rng(0)
    quads: list[Quad[TextInput]] = []
    for name in NAMES:
        first, second = draw.choice(NOUNS, size=2, replace=False)
        one = TextInput("they met", f"the {first} saw the {second}")
        other = TextInput("they met", f"the {second} saw the {first}")
        quads.append(Quad(name, one, one, other, other, "yes", "no"))
    return quads


def word_features(quads: list[Quad[TextInput]]) -> np.ndarray:
    """Which word is the subject, and nothing of what is true."""
    subjects = [[str(q.cell(c).hypothesis).split()[1] for c in CELLS] for q in quads]
    return np.stack([[np.eye(6)[NOUNS.index(word)] for word in each] for each in subjects])


CELLS: tuple[Cell, ...] = ("A", "N", "C", "L")


def test_who_knows_the_words_alone_answers_the_control_task_and_not_the_task() -> None:
    quads = texts()
    features = word_features(quads) + 0.1 * content()
    signs = word_signs(quads, ("A", "C"))
    given = features, LABEL, FOIL, "core_AC_word", signs, drawn(), FOLDS
    found = measure_selectivity(*given)
    assert found.control.low is not None and found.control.low > 0.9
    assert found.accuracy.high is not None and found.accuracy.high < 0.7
    assert found.selectivity.high is not None and found.selectivity.high < 0
    both = np.concatenate([features, np.broadcast_to(CORE[:, None], (N, 4, 1))], axis=2)
    read = measure_selectivity(both, *given[1:])
    assert read.accuracy.value == 1.0


def test_words_mean_the_same_in_every_quad_and_swapping_the_cells_flips_them() -> None:
    quads = texts()
    signs = word_signs(quads, ("A", "C"), draws=6)
    assert set(np.unique(signs)) == {-1, 0, 1}
    np.testing.assert_array_equal(word_signs(quads, ("C", "A"), draws=6), -signs)
    np.testing.assert_array_equal(word_signs(quads, ("A", "N"), draws=6), 0)
    by_pair: dict[tuple[str, str], list[int]] = {}
    for quad, row in zip(quads, signs.tolist(), strict=True):
        pair = str(quad.A.hypothesis).split()[1], str(quad.C.hypothesis).split()[1]
        assert by_pair.setdefault(pair, row) == row


def test_signs_depend_on_the_seed_alone() -> None:
    np.testing.assert_array_equal(quad_signs(5, 3, seed=1), quad_signs(5, 3, seed=1))
    assert not np.array_equal(quad_signs(50, 3, seed=1), quad_signs(50, 3, seed=2))


def test_nested_probes_read_what_is_planted_and_nothing_else() -> None:
    features = content()
    features[..., 0] = CORE
    features[..., 1] = SHORTCUT
    read = probe_quads_nested(features, LABEL, FOIL, NAMES, [""] * N, TRIED)
    for question in QUESTIONS:
        assert right_answers(read.answers.margins(question), question).all()
    assert len(read.penalties) == 5 and set(read.penalties) <= set(TRIED)
    blind = probe_quads_nested(content(seed=5), LABEL, FOIL, NAMES, [""] * N, TRIED)
    hits = right_answers(blind.answers.margins("shortcut"), "shortcut")
    assert abs(hits.mean() - 0.5) < 0.1


def test_nested_with_one_penalty_is_the_plain_probe() -> None:
    features = content()
    features[..., 0] += 0.3 * CORE
    templates = [f"t{i % 4}" for i in range(N)]
    nested = probe_quads_nested(features, LABEL, FOIL, NAMES, templates, penalties=(0.01,))
    plain = probe_quads(features, LABEL, FOIL, assign_folds(NAMES, templates))
    for question in QUESTIONS:
        np.testing.assert_allclose(
            nested.answers.margins(question), plain.margins(question), atol=1e-6
        )


def test_the_penalty_does_not_see_the_quads_that_are_held_out() -> None:
    features = content()
    features[..., 0] += 0.3 * CORE
    folds = assign_folds(NAMES, [""] * N)
    other = features.copy()
    other[folds == 0] = np.random.default_rng(9).normal(size=other[folds == 0].shape) * 100
    first = probe_quads_nested(features, LABEL, FOIL, NAMES, [""] * N, TRIED)
    second = probe_quads_nested(other, LABEL, FOIL, NAMES, [""] * N, TRIED)
    assert first.penalties[0] == second.penalties[0]
