"""Comparisons of small random models: identities, and numbers recomputed from the files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import TWO_WAY, write_labelled, write_pairs, write_quads
from modelmaking import make_bert
from plotly.graph_objects import Figure

from circuits.compare import Comparison, ComparisonConfig, compare_models
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.storage import Json

FIXED_NAMES = {
    "schema_version", "config", "provenance", "task", "models", "agreement", "losses",
    "retention", "erosion", "stages", "alignment", "diff", "tests", "verdict",
}  # fmt: skip
BEHAVIOR = {
    "id_accuracy", "ood_accuracy", "aligned_accuracy", "conflicting_accuracy", "spurious_gap",
    "spurious_share", "core_effect", "shortcut_effect", "interaction", "total_range", "auc",
    "auc4", "confidence", "confidence_when_wrong", "ece",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=3, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=2, seed=2, classes=TWO_WAY)
    make_bert(home / "plain", n_layers=3, seed=3, classes=TWO_WAY)
    make_bert(home / "three", n_layers=2, seed=4)
    write_quads(home / "quads.jsonl")
    write_pairs(home / "pairs.jsonl")
    return home


def compare(folder: Path, teacher: str, student: str, **options: object) -> Comparison:
    given = {"examples": folder / "quads.jsonl", "n_resamples": 200, **options}
    return compare_models(folder / teacher, folder / student, **given)  # pyright: ignore


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    return compare(folder, "big", "small", teacher_plain=str(folder / "plain"))


def margins(comparison: Comparison, role: str) -> dict[str, np.ndarray]:
    logits = {c: comparison.arrays[f"{role}.logits.{c}"].astype(np.float64) for c in "ANCL"}
    return {cell: values[:, 0] - values[:, 1] for cell, values in logits.items()}


def values_in(stored: object) -> list[float]:
    if isinstance(stored, dict):
        own = [stored["value"]] if isinstance(stored.get("value"), float) else []
        return own + [v for key, part in stored.items() if key != "n" for v in values_in(part)]
    return []


def without_names(result: Json) -> str:
    kept = {k: v for k, v in result.items() if k not in ("provenance", "config")}
    models = {
        role: {k: v for k, v in branch(kept, "models", role).items() if k != "checkpoint"}
        for role in branch(kept, "models")
    }
    return json.dumps({**kept, "models": models}, sort_keys=True)


def test_the_result_has_the_fixed_names_and_no_nan(found: Comparison) -> None:
    assert set(found.result) >= FIXED_NAMES
    for role in ("teacher", "student", "teacher_plain"):
        assert set(branch(found.result, "models", role, "behavior")) >= BEHAVIOR
        assert set(branch(found.result, "models", role, "groups")) == set("ANCL")
    json.dumps(found.result, allow_nan=False)


def test_every_number_has_an_interval_and_n_or_a_reason(found: Comparison) -> None:
    for role in ("teacher", "student"):
        for name, stored in branch(found.result, "models", role, "behavior").items():
            assert isinstance(stored, dict)
            complete = {"value", "low", "high", "n"} <= set(stored)
            assert complete or (stored["value"] is None and stored["reason"]), name


def test_a_model_against_itself_differs_by_exactly_zero(folder: Path) -> None:
    same = compare(folder, "big", "big")
    for part in ("losses", "erosion"):
        assert set(values_in(same.result[part])) == {0.0}
    for name, values in same.arrays.items():
        if name.startswith("teacher."):
            twin = same.arrays[name.replace("teacher", "student", 1)]
            assert np.array_equal(values, twin)


def test_a_copy_under_another_name_gives_identical_numbers(
    folder: Path, found: Comparison, tmp_path: Path
) -> None:
    for name, new in (("big", "A"), ("small", "B"), ("plain", "C")):
        shutil.copytree(folder / name, tmp_path / new)
    renamed = compare(tmp_path, "A", "B", teacher_plain=str(tmp_path / "C"),
                      examples=folder / "quads.jsonl")  # fmt: skip
    assert without_names(renamed.result) == without_names(found.result)
    assert all(np.array_equal(renamed.arrays[name], found.arrays[name]) for name in found.arrays)


def test_a_second_run_is_identical(folder: Path, found: Comparison) -> None:
    again = compare(folder, "big", "small", teacher_plain=str(folder / "plain"))
    assert without_names(again.result) == without_names(found.result)
    assert all(np.array_equal(again.arrays[name], found.arrays[name]) for name in found.arrays)


def test_swapping_teacher_and_student_flips_every_difference(
    folder: Path, found: Comparison
) -> None:
    swapped = compare(folder, "small", "big")
    for part, names in (("losses", ("C", "N", "mean")), ("erosion", ("spurious_gap", "auc4"))):
        for name in names:
            forward = estimate(found.result, part, name).value
            backward = estimate(swapped.result, part, name).value
            assert forward is not None and backward == pytest.approx(-forward, abs=1e-12)


def test_losses_and_ranges_follow_from_the_arrays(found: Comparison) -> None:
    teacher, student = margins(found, "teacher"), margins(found, "student")
    probability = {
        role: {cell: 1 / (1 + np.exp(-m)) for cell, m in cells.items()}
        for role, cells in (("teacher", teacher), ("student", student))
    }
    on_c = (probability["student"]["C"] - probability["teacher"]["C"]).mean()
    on_n = (probability["teacher"]["N"] - probability["student"]["N"]).mean()
    assert estimate(found.result, "losses", "C").value == pytest.approx(on_c, abs=1e-6)
    assert estimate(found.result, "losses", "N").value == pytest.approx(on_n, abs=1e-6)
    behavior = branch(found.result, "models", "teacher", "behavior")
    core, shortcut, total = (
        estimate(behavior, f"{name}_logits").value
        for name in ("core_effect", "shortcut_effect", "total_range")
    )
    assert core is not None and shortcut is not None
    assert core + shortcut == pytest.approx(total, abs=1e-9)
    assert total == pytest.approx((teacher["A"] - teacher["L"]).mean(), abs=1e-5)


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("contrast", ["core", "shortcut"])
def test_effects_of_nodes_follow_from_the_arrays(
    found: Comparison, role: str, contrast: str
) -> None:
    heads = found.arrays[f"{role}.{contrast}"]
    assert heads.dtype == np.float32
    assert heads.shape == (48, {"teacher": 3, "student": 2}[role], 2)
    stored = branch(found.result, "models", role, "effects", contrast, "nodes")
    raw = estimate(stored, "a1.h0", "logits").value
    assert raw == pytest.approx(heads[:, 1, 0].astype(np.float64).mean(), abs=1e-6)
    share = estimate(stored, "a1.h0")
    if share.value is not None:
        cells = margins(found, role)
        assert share.value == pytest.approx(raw / (cells["A"] - cells["L"]).mean(), rel=1e-4)


def test_clean_margins_of_the_pairs_are_those_of_the_quads(found: Comparison) -> None:
    cells = margins(found, "student")
    clean = found.arrays["student.clean.core"].reshape(-1, 2)
    np.testing.assert_allclose(clean[:, 0], cells["A"], atol=1e-4)
    np.testing.assert_allclose(clean[:, 1], cells["N"], atol=1e-4)


def test_batch_size_does_not_matter(folder: Path, found: Comparison) -> None:
    small = compare(folder, "big", "small", batch_size=30)
    for name in ("teacher.core", "student.shortcut", "teacher.layers.core", "student.logits.N"):
        np.testing.assert_allclose(small.arrays[name], found.arrays[name], atol=2e-4)


def test_denoising_is_another_number_with_its_name(folder: Path, found: Comparison) -> None:
    other = compare(folder, "big", "small", direction="denoise")
    assert branch(other.result, "models", "student", "effects", "core")["direction"] == "denoise"
    assert not np.allclose(other.arrays["student.core"], found.arrays["student.core"])
    assert np.array_equal(other.arrays["student.logits.A"], found.arrays["student.logits.A"])


def test_stages_place_layers_by_relative_depth(found: Comparison) -> None:
    rows = listing(found.result, "stages")
    depths = {role: [row["depth"] for row in rows if row["model"] == role and "layer_core" in row]
              for role in ("teacher", "student")}  # fmt: skip
    assert depths == {"teacher": [1 / 6, 1 / 2, 5 / 6], "student": [1 / 4, 3 / 4]}
    assert [row["depth"] for row in rows if row["model"] == "student"] == [
        0,
        1 / 4,
        1 / 2,
        3 / 4,
        1,
    ]
    reason = "too few quads for this width (12 to learn from, 16 features need 32)"
    assert estimate(rows[0], "core_AC").reason == reason


def test_saving_and_loading_gives_the_same(found: Comparison, tmp_path: Path) -> None:
    found.save(tmp_path / "out", figures=False)
    loaded = Comparison.load(tmp_path / "out")
    assert loaded.result == json.loads(json.dumps(found.result))
    assert set(loaded.arrays) == set(found.arrays)
    assert all(np.array_equal(loaded.arrays[name], found.arrays[name]) for name in found.arrays)
    assert loaded.verdict == found.verdict
    assert loaded.config == found.config


def test_pairs_without_quads_say_what_cannot_be_measured(folder: Path) -> None:
    pairs = compare(folder, "big", "small", examples=folder / "pairs.jsonl")
    assert estimate(pairs.result, "losses", "C").reason == "the data hold no quads"
    behavior = branch(pairs.result, "models", "student", "behavior")
    assert estimate(behavior, "spurious_share").reason == "the data hold no quads"
    assert estimate(pairs.result, "models", "student", "pairs", "core", "clean_accuracy").n == 24
    assert pairs.arrays["student.core"].shape == (24, 2, 2)
    assert "student.shortcut" not in pairs.arrays
    assert pairs.verdict.status == "undecided"


def test_labelled_examples_give_groups(folder: Path, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "labelled.tsv")
    groups = compare(folder, "big", "small", examples=path)
    assert set(branch(groups.result, "models", "student", "groups")) == {
        "genre0", "genre1", "genre2",
    }  # fmt: skip
    assert estimate(groups.result, "models", "student", "behavior", "id_accuracy").n == 24
    assert estimate(groups.result, "agreement", "all", "all", "rate").n == 24
    assert listing(groups.result, "stages") == []
    groups.save(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_three_way_student_answers_a_two_way_question(folder: Path) -> None:
    mixed = compare(folder, "big", "three")
    readout = branch(mixed.result, "models", "student", "readout")
    assert readout["labels"] == {
        "entailment": ["entailment"],
        "non-entailment": ["neutral", "contradiction"],
    }
    assert mixed.arrays["student.logits.A"].shape == (24, 3)


def test_companions_of_the_checkpoint_file_are_taken_along(folder: Path) -> None:
    path = folder / "checkpoints.yaml"
    path.write_text(
        "version: 1\ncheckpoints:\n"
        "  t: {path: big, role: teacher, companions: {teacher_plain: p}}\n"
        "  s: {path: small, role: student, companions: {student_debiased: d}}\n"
        "  p: {path: plain, role: teacher_plain}\n"
        "  d: {path: three, role: student_debiased}\n"
    )
    found = compare_models(
        "t", "s", checkpoints=str(path), examples=folder / "quads.jsonl", n_resamples=50
    )
    assert list(branch(found.result, "models")) == [
        "teacher", "student", "teacher_plain", "student_debiased",
    ]  # fmt: skip
    assert branch(found.result, "models", "student_debiased")["checkpoint"] == "d"
    assert "student_debiased.logits.A" in found.arrays
    assert "student_debiased.core" not in found.arrays


def test_retention_needs_a_plain_teacher(folder: Path) -> None:
    alone = compare(folder, "big", "small")
    assert estimate(alone.result, "retention").reason == "no plain teacher was given"


def test_a_config_reads_what_it_writes() -> None:
    config = replace(ComparisonConfig("a", "b"), n_pairs=7, direction="denoise")
    assert ComparisonConfig.from_json(config.to_json()) == config
    assert config.n_quads == 4


def test_every_figure_is_a_plotly_figure(found: Comparison) -> None:
    figures = found.figures
    for figure in (
        figures.accuracy(), figures.plane(), figures.confidence(), figures.agreement(),
        figures.heads(), figures.heads("teacher", "shortcut"), figures.layers("shortcut"),
    ):  # fmt: skip
        assert isinstance(figure, Figure)
        assert figure.layout.title.text
