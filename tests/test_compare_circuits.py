"""Circuits inside a comparison: what is stored, on which quads, and what the page says."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from comparing import DIGITS, TWO_WAY, write_image_pairs, write_pairs, write_quads
from modelmaking import make_bert, make_family
from results import made_up_result

from behavior.examples import Pairs, pairs_from_quads
from behavior.tasks import load_task
from circuits.compare import Comparison, compare_models
from circuits.compare.__main__ import main
from circuits.compare.circuit_numbers import MOST_DRAWN
from circuits.compare.config import DISCOVERIES
from circuits.compare.discovering import MOST_PAIRS, TOO_FEW, halves
from circuits.compare.figures.circuit import circuit_figure
from circuits.compare.figures.layout import place_nodes
from circuits.compare.options import read_options
from circuits.compare.page.report import render
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.storage import Json
from circuits.discovery import METHODS
from circuits.graph import Graph
from patching import load_checkpoint

ROLES, CONTRASTS = ("teacher", "student"), ("core", "shortcut")
RUNS = ("clean", "corrupted")
BRANCHES = ("circuits", "direct", "edges")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", 12)
    write_pairs(home / "pairs.jsonl", 12)
    write_pairs(home / "few.jsonl", 3)
    return home


def compare(folder: Path, teacher: str, student: str, **options: object) -> Comparison:
    given = {"examples": folder / "quads.jsonl", "n_resamples": 100, **options}
    return compare_models(folder / teacher, folder / student, **given)  # pyright: ignore


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    return compare(folder, "big", "small")


def circuit_of(comparison: Comparison, role: str = "student", contrast: str = "core") -> Json:
    return branch(comparison.result, "models", role, "circuits", contrast)


def edges_of(result: Json, role: str) -> list[str]:
    return cast("list[str]", branch(result, "models", role)["edges"])


def visibilities(figure: Any) -> set[tuple[str, object]]:
    """By contrast, whether its traces are shown."""
    return {(trace.legendgroup, trace.visible) for trace in figure.data if trace.legendgroup}


def without_circuits(result: Json) -> str:
    kept = {k: v for k, v in result.items() if k not in ("provenance", "config")}
    models = {
        role: {k: v for k, v in branch(kept, "models", role).items() if k not in BRANCHES}
        for role in branch(kept, "models")
    }
    return json.dumps({**kept, "models": models}, sort_keys=True)


def test_the_listed_methods_are_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert (*METHODS, "none") == DISCOVERIES
    assert read_options(["a", "b"]).config.discovery == "eap_ig_inputs"
    assert read_options(["a", "b", "--discovery", "none"]).config.discovery == "none"
    with pytest.raises(SystemExit, match="2"):
        main(["a", "b", "--discovery", "acdc"])
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "'acdc'" in said and "eap_ig_inputs" in said


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_each_circuit_has_its_numbers(found: Comparison, role: str, contrast: str) -> None:
    stored = circuit_of(found, role, contrast)
    names = edges_of(found.result, role)
    assert stored["n_edges"] == len(names)
    assert stored["method"] == "eap_ig_inputs" and stored["backend"] == "hooks"
    chosen, tested = (set(stored[key]) for key in ("chosen_units", "tested_units"))  # pyright: ignore
    assert chosen and tested and not chosen & tested and stored["held_out"] is True
    assert branch(stored, "n") == {"chosen": 2 * len(chosen), "tested": 2 * len(tested)}
    assert [point["percent"] for point in listing(stored, "faithfulness")][-1] == 100
    for point in listing(stored, "faithfulness"):
        for name in ("faithfulness", "random", "complement"):
            complete_or_said(branch(point, name))
    for name in ("cpr", "cmd", "random_cpr", "random_cmd", "completeness", "clean"):
        complete_or_said(branch(stored, name))
    edges = listing(stored, "circuit", "edges")
    assert len(edges) <= MOST_DRAWN and {edge["edge"] for edge in edges} <= set(names)
    json.dumps(found.result, allow_nan=False)


def complete_or_said(stored: Json) -> None:
    known = {"value", "low", "high", "n"} <= set(stored)
    assert known or (stored["value"] is None and stored["reason"])


def test_scores_and_direct_paths_follow_from_the_arrays(folder: Path, found: Comparison) -> None:
    model = load_checkpoint(str(folder / "big"))
    names = edges_of(found.result, "teacher")
    assert names == list(Graph.of(model).edges)
    for contrast in CONTRASTS:
        scores = found.arrays[f"teacher.edges.{contrast}"]
        assert scores.shape == (len(names),) and np.isfinite(scores).all()
        for edge in listing(circuit_of(found, "teacher", contrast), "circuit", "edges"):
            assert edge["score"] == pytest.approx(scores[names.index(str(edge["edge"]))], abs=1e-6)
        values = found.arrays[f"teacher.direct.{contrast}"].astype(np.float64)
        nodes = branch(found.result, "models", "teacher", "direct", contrast, "nodes")
        assert values.shape == (24, len(nodes))
        for column, node in zip(values.T, nodes, strict=True):
            assert estimate(nodes, node, "logits").value == pytest.approx(column.mean(), abs=1e-6)
            complete_or_said(branch(nodes, node))
        clean, corrupted = (found.arrays[f"teacher.{run}.{contrast}"] for run in RUNS)
        np.testing.assert_allclose(values.sum(1), clean - corrupted, atol=1e-4)


def test_without_discovery_all_else_is_the_same(folder: Path, found: Comparison) -> None:
    none = compare(folder, "big", "small", discovery="none")
    for role in ROLES:
        assert not set(BRANCHES) & set(branch(none.result, "models", role))
    assert without_circuits(none.result) == without_circuits(found.result)
    added = set(found.arrays) - set(none.arrays)
    assert {name for name in added if ".circuits." not in name} == {
        f"{role}.{kind}.{contrast}"
        for role in ROLES
        for kind in ("edges", "direct")
        for contrast in CONTRASTS
    }
    assert {name.rpartition(".")[0] for name in added if ".circuits." in name} == {
        f"{role}.circuits.{contrast}" for role in ROLES for contrast in CONTRASTS
    }
    page = render(none.result)
    assert "Which circuits?" not in page and "data-figure" in page


def test_a_result_from_before_circuits_is_drawn(tmp_path: Path) -> None:
    old = made_up_result()
    for role in branch(old, "models"):
        for name in BRANCHES:
            branch(old, "models", role).pop(name, None)
    Comparison(old, {"student.core": np.zeros((4, 2, 4), np.float32)}).save(
        tmp_path / "old", figures=False
    )
    assert "Which circuits?" not in render(Comparison.load(tmp_path / "old").result)


def test_the_page_has_a_section_with_every_figure(found: Comparison) -> None:
    page = render(found.result)
    assert "Which circuits?" in page
    for name in (
        *(f"faithfulness-{contrast}" for contrast in CONTRASTS),
        *(f"{kind}-{role}" for kind in ("circuit", "direct") for role in ROLES),
    ):
        assert f'data-figure="{name}"' in page
    assert "Direct paths only" in page and "none may be called unimportant" in page
    assert "pairs of other quads" in page


def test_a_model_against_itself_has_identical_circuits(folder: Path) -> None:
    same = compare(folder, "big", "big")
    teacher, student = (branch(same.result, "models", role) for role in ROLES)
    for name in BRANCHES:
        assert teacher[name] == student[name]
    for contrast in CONTRASTS:
        for kind in ("edges", "direct"):
            first, second = (same.arrays[f"{role}.{kind}.{contrast}"] for role in ROLES)
            assert np.array_equal(first, second)


def test_another_method_is_used_and_named(folder: Path) -> None:
    other = compare(folder, "small", "small", discovery="random", examples=folder / "pairs.jsonl")
    stored = circuit_of(other)
    assert stored["method"] == "random"
    assert set(branch(other.result, "models", "student", "circuits")) == {"core"}
    assert "scored by random on 6 pairs" in render(other.result)
    assert "pairs of other pairs" in render(other.result)


def test_too_few_pairs_are_said(folder: Path) -> None:
    few = compare(folder, "small", "small", examples=folder / "few.jsonl")
    assert circuit_of(few) == {
        "method": "eap_ig_inputs", "value": None, "reason": TOO_FEW, "n": 0,
    }  # fmt: skip
    assert "student.edges.core" not in few.arrays
    page = render(few.result)
    assert f"No circuit for the core contrast: {TOO_FEW}" in page
    assert 'data-figure="direct-student"' in page and 'data-figure="circuit-' not in page


def test_halves_are_whole_units_and_bounded() -> None:
    pairs: Pairs[Any] = pairs_from_quads(load_task("nli-overlap").quads(120), "core")
    split = halves(pairs, 0)
    assert split is not None
    first, second = split
    assert len(first) == len(second) == MOST_PAIRS
    assert not set(first.units) & set(second.units)
    assert len(set(first.units)) == MOST_PAIRS // 2
    assert halves(pairs, 0) == split and halves(pairs, 1) != split


@pytest.mark.parametrize("family", ["t5", "resnet"])
def test_other_families_run_from_folders(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = family == "resnet"
    for name, seed in (("big", 1), ("small", 2)):
        make_family(tmp_path / name, family, seed=seed, **(DIGITS if image else {}))
    path = write_image_pairs(tmp_path, 8) if image else write_quads(tmp_path / "quads.jsonl", 8)
    given = ["big", "small", "--examples", str(path), "--out", "out", "--no-figures", "--quiet"]
    assert main(given) == 0
    found = Comparison.load("out")
    stored = circuit_of(found)
    assert stored["n_edges"] == len(found.arrays["student.edges.core"])
    assert listing(stored, "faithfulness")
    levels = found.figures.circuit("student").layout.yaxis.ticktext
    assert levels[0] == "input" and levels[-1] == "logits"
    assert ("s1.b0" if image else "dec.x1") in levels


def test_nodes_stand_in_levels_from_the_inputs_up() -> None:
    edges = ["input->a0.h0<q>", "input->a0.h1<q>", "input->m0", "a0.h0->m0", "m0->logits"]
    placed = place_nodes(edges)
    assert placed.levels == ("input", "a0", "m0", "logits")
    assert placed.places["a0.h0"] == (-1.0, 1.0) and placed.places["a0.h1"] == (1.0, 1.0)
    assert placed.places["logits"] == (0.0, 3.0)


def test_two_large_circuits_are_not_drawn_over_each_other() -> None:
    result = made_up_result()
    edges = edges_of(result, "teacher")
    small = circuit_figure(result, "teacher")
    assert visibilities(small) == {("core", True), ("shortcut", True)}
    for contrast in CONTRASTS:
        circuit = branch(result, "models", "teacher", "circuits", contrast, "circuit")
        circuit["edges"] = [{"edge": edge, "score": 1.0} for edge in edges[:150]]
    large = circuit_figure(result, "teacher")
    assert visibilities(large) == {("core", True), ("shortcut", "legendonly")}
