"""Similarity of stages in a comparison: identities, a second route to its numbers, its section."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from comparing import TWO_WAY, write_quads
from made_up_numbers import number
from modelmaking import make_bert
from results import made_up_result
from test_page_sections import words

from behavior.errors import DataError
from behavior.progress import Silent
from circuits.compare.config import ComparisonConfig
from circuits.compare.figures import ComparisonFigures, report_figures
from circuits.compare.page.footer import footer
from circuits.compare.page.report import render
from circuits.compare.page.similarity_section import similarity_section
from circuits.compare.pipeline import Prepared, prepare
from circuits.compare.profile.representations import (
    FEW,
    Representations,
    describe_representations,
    measure_similarity,
)
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.roles import Models
from circuits.compare.running.steps import Steps
from circuits.compare.storage import Json
from probes.stream import pooled_stream, stream_points

N_QUADS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", N_QUADS)
    return home


def config_of(folder: Path, student: str = "small") -> ComparisonConfig:
    examples = str(folder / "quads.jsonl")
    return ComparisonConfig(
        str(folder / "big"), str(folder / student), examples=examples, n_resamples=50, seed=3
    )


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return prepare(config_of(folder), Silent())


@pytest.fixture(scope="module")
def found(folder: Path, prepared: Prepared) -> Representations:
    return measure_similarity(prepared.models, prepared.evidence, config_of(folder), Silent())


def unbiased_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al.'s closed form, without a centred matrix."""
    k, ell = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(ell, 0)
    n = len(k)
    total = np.trace(k @ ell) + k.sum() * ell.sum() / ((n - 1) * (n - 2))
    return float((total - 2 * (k @ ell).sum() / (n - 2)) / (n * (n - 3)))


def test_numbers_of_the_result_follow_from_the_models_by_another_formula(
    folder: Path, prepared: Prepared, found: Representations
) -> None:
    rows = listing({"similarity": describe_representations(found)}, "similarity", "pairs")
    # One minibatch holds all quads; of each, one input counts on each side, A or L, N or C.
    draw = np.random.default_rng(config_of(folder).seed).integers(2, size=N_QUADS)
    sides = {"aligned": ("A", "L"), "conflicting": ("N", "C")}
    quads = prepared.evidence.quads
    states: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for role in ("teacher", "student"):
        model = prepared.models[role]
        points = stream_points(model)
        for side, cells in sides.items():
            inputs = [quad.cell(cells[i]) for quad, i in zip(quads, draw, strict=True)]  # pyright: ignore[reportArgumentType]
            streams = pooled_stream(model, inputs, points)
            named = {p.name: s.astype(float) for p, s in zip(points, streams, strict=True)}
            states.setdefault(role, {})[side] = named
    for row in rows:
        values: list[float] = []
        for side in sides:
            x = states["teacher"][side][str(row["teacher"])]
            y = states["student"][side][str(row["student"])]
            scale = np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
            values.append(unbiased_hsic(x, y) / scale)
            assert estimate(row, side).value == pytest.approx(values[-1], abs=1e-5)
        assert estimate(row, "difference").value == pytest.approx(values[0] - values[1], abs=1e-5)


def test_every_two_stages_are_compared_once_and_intervals_hold_their_numbers(
    found: Representations,
) -> None:
    stored = describe_representations(found)
    rows = listing({"similarity": stored}, "similarity", "pairs")
    ours, theirs = ["input", "a0", "m0", "a1", "m1"], ["input", "a0", "m0"]
    assert [(r["teacher"], r["student"]) for r in rows] == [(a, b) for a in ours for b in theirs]
    assert stored["quads"] == [f"q{i}" for i in range(N_QUADS)]
    for row in rows:
        for part in ("aligned", "conflicting", "difference"):
            each = estimate(row, part)
            assert each.n == N_QUADS and each.value is not None
            assert each.low is not None and each.high is not None and each.low <= each.high


def test_a_model_is_like_itself_at_every_stage_and_differs_nowhere(
    folder: Path, prepared: Prepared
) -> None:
    same: Models = {**prepared.models, "student": prepared.models["teacher"]}
    own = measure_similarity(same, prepared.evidence, config_of(folder), Silent())
    for each in own.pairs:
        if each.first == each.second:
            assert each.aligned.value == pytest.approx(1) == each.conflicting.value
            assert each.difference.value == pytest.approx(0, abs=1e-9)
    turned = {(each.second, each.first): each.aligned.value for each in own.pairs}
    for each in own.pairs:
        assert each.aligned.value == pytest.approx(turned[each.first, each.second])


def test_a_stored_step_is_taken_and_gives_the_same(
    folder: Path, prepared: Prepared, found: Representations, tmp_path: Path
) -> None:
    given = prepared.models, prepared.evidence, config_of(folder), Silent()
    measure_similarity(*given, Steps(tmp_path))
    again = Steps(tmp_path, resume=True)
    assert measure_similarity(*given, again) == found
    assert again.taken == ["similarity of stages"]


def test_without_enough_quads_there_is_a_reason(folder: Path, prepared: Prepared) -> None:
    few = replace(prepared.evidence, quads=prepared.evidence.quads[:3])
    stored = describe_representations(
        measure_similarity(prepared.models, few, config_of(folder), Silent())
    )
    assert stored == {"pairs": [], "reason": FEW}
    result = {**made_up_result(), "similarity": stored}
    assert f"Not measured: {FEW}." in words(similarity_section(result))
    assert not [name for name in report_figures(result) if name.startswith("similarity")]


def test_the_section_says_how_alike_the_ends_are_and_what_shows_more() -> None:
    result = made_up_result()
    branch(result, "config").update(teacher="my models/a", student="b")
    said = words(similarity_section(result))
    last = listing(result, "similarity", "pairs")[-1]
    assert f"similarity {estimate(last, 'aligned').value:.2f} (" in said
    assert "the two models are more alike on aligned examples" in said
    assert "python -m probes.compare 'my models/a' b" in said
    last["difference"] = number(0.01, 0.05, 256)
    assert "as alike on conflicting as on aligned examples" in words(similarity_section(result))


def test_the_figure_shows_the_numbers_of_the_result() -> None:
    result = made_up_result()
    for part in ("aligned", "conflicting", "difference"):
        figure = ComparisonFigures(result).similarity(part)
        table = figure.data[0]  # pyright: ignore[reportIndexIssue]
        assert isinstance(table, go.Heatmap)
        for row in listing(result, "similarity", "pairs"):
            place = list(table.y).index(row["teacher"]), list(table.x).index(row["student"])  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
            assert table.z[place[0]][place[1]] == estimate(row, part).value  # pyright: ignore[reportOptionalSubscript]


def test_a_result_from_before_similarity_is_drawn_without() -> None:
    old: Json = {k: v for k, v in made_up_result().items() if k != "similarity"}
    assert similarity_section(old) == "" and "How similar the representations" not in render(old)
    with pytest.raises(DataError, match="holds no similarity of stages"):
        ComparisonFigures(old).similarity()


def test_seed_twins_are_thin_lines_with_one_entry_and_the_footer_names_them() -> None:
    result = made_up_result()
    own = [row for row in listing(result, "stages") if row["model"] == "teacher"]
    for i in (1, 2):
        listing(result, "stages").extend({**row, "model": f"teacher_twin_{i}"} for row in own)
    result["twins"] = {
        "models": [
            {"model": f"teacher_twin_{i}", "checkpoint": f"seed-{i}", "digest": f"{i}abc" * 16}
            for i in (1, 2)
        ],
        "delta": 0.0345,
        "equal_within": 0.02,
    }
    figure = ComparisonFigures(result).readability()
    lines = [t for t in figure.data if t.name == "twins of the teacher"]  # pyright: ignore
    assert [line.mode for line in lines] == ["lines", "lines"]  # pyright: ignore
    assert [line.showlegend for line in lines] == [True, False]  # pyright: ignore
    assert {line.line.width for line in lines} == {1}  # pyright: ignore
    said = words(footer(result))
    assert "a loss has to exceed 0.034" in said or "a loss has to exceed 0.035" in said
    assert "teacher, twin 2 seed-2 2abc2abc2abc2abc" in said
    branch(result, "config")["delta"] = 0.1
    assert "0.1" not in words(footer(result)).split("resamples")[1].split("Weights")[0]
    del result["twins"]
    assert "two models count as equal within 0.1" in words(footer(result))
