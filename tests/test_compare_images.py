"""Comparisons of image models: digits of ten classes, files of images, and folders in groups."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from comparing import (
    DIGITS,
    classes,
    write_image_pairs,
    write_image_quads,
    write_quads,
    write_rows,
    write_wilds,
)
from modelmaking import make_bert, make_family

from behavior.tasks import load_task
from circuits.compare import Comparison, compare_models
from circuits.compare.__main__ import main
from circuits.compare.page.component_captions import heads_caption, heads_summary
from circuits.compare.page.report import render
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.wording import NO_ATTENTION

N = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_family(home / "vit", "vit", seed=1, **DIGITS)
    make_family(home / "resnet", "resnet", seed=2, **DIGITS)
    make_family(home / "vit-two", "vit", seed=3, **classes("0", "1"))
    make_family(home / "resnet-two", "resnet", seed=4, **classes("0", "1"))
    write_image_quads(home, N)
    write_wilds(home / "birds")
    return home


def compare(folder: Path, teacher: str, student: str, **options: object) -> Comparison:
    given = {"n_resamples": 100, "n_pairs": 2 * N, "n_examples": 30, "n_probe_quads": 12, **options}
    return compare_models(folder / teacher, folder / student, **given)  # pyright: ignore


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    return compare(folder, "vit", "resnet", task="digits")


@pytest.fixture(scope="module")
def groups(folder: Path) -> Comparison:
    return compare(folder, "vit-two", "resnet-two", examples=folder / "birds")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of one's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label_margins(comparison: Comparison, role: str) -> dict[str, np.ndarray]:
    quads = load_task("digits").quads(N)
    rows = range(N)
    label, foil = ([int(getattr(quad, side)) for quad in quads] for side in ("label", "foil"))
    return {
        cell: logits[rows, label] - logits[rows, foil]
        for cell in "ANCL"
        for logits in (comparison.arrays[f"{role}.logits.{cell}"].astype(np.float64),)
    }


def test_losses_of_ten_classes_follow_from_the_arrays(found: Comparison) -> None:
    assert found.arrays["student.logits.A"].shape == (N, 10)
    p = {
        role: {cell: 1 / (1 + np.exp(-m)) for cell, m in label_margins(found, role).items()}
        for role in ("teacher", "student")
    }
    on_c = (p["student"]["C"] - p["teacher"]["C"]).mean()
    on_n = (p["teacher"]["N"] - p["student"]["N"]).mean()
    assert estimate(found.result, "losses", "C").value == pytest.approx(on_c, abs=1e-6)
    assert estimate(found.result, "losses", "N").value == pytest.approx(on_n, abs=1e-6)


def test_accuracy_is_over_all_ten_classes(found: Comparison) -> None:
    quads = load_task("digits").quads(N)
    right = [
        int(found.arrays[f"student.logits.{cell}"][i].argmax()) == int(quad.truth(cell))
        for i, quad in enumerate(quads)
        for cell in ("A", "L")
    ]
    measured = estimate(found.result, "models", "student", "behavior", "aligned_accuracy")
    assert measured.value == pytest.approx(np.mean(right))


def test_the_spec_names_rows_and_modality(found: Comparison) -> None:
    spec = branch(found.result, "models", "student", "spec")
    assert spec["modality"] == "image"
    assert spec["rows"] == ["s0.b0", "s0.b1", "s1.b0"]
    assert found.arrays["student.core"].shape == (2 * N, 3, spec["n_heads"])
    assert found.arrays["student.attribution.core"].shape == (2 * N, 3, spec["n_heads"])


def test_a_family_without_attention_says_so(found: Comparison) -> None:
    rows = listing(found.result, "stages")
    student = [row for row in rows if row["model"] == "student"]
    assert [row["stage"] for row in student] == ["input", "s0.b0", "s0.b1", "s1.b0"]
    assert estimate(student[1], "layer_core_patterns").reason == NO_ATTENTION
    assert estimate(student[1], "layer_core_logits").value is not None
    teacher = next(row for row in rows if (row["model"], row["stage"]) == ("teacher", "a0"))
    assert estimate(teacher, "layer_core_patterns_logits").value is not None
    assert not {"student.mlps.core", "student.patterns.core"} & set(found.arrays)
    assert {"teacher.mlps.core", "teacher.patterns.core"} <= set(found.arrays)


def test_maps_and_tables_name_blocks_and_channel_groups(found: Comparison, tmp_path: Path) -> None:
    figure = found.figures.heads("student", "core")
    assert figure.layout.xaxis.title.text == "channel group"
    assert figure.layout.yaxis.title.text == "block"
    assert list(figure.data[0].y) == ["s0.b0", "s0.b1", "s1.b0"]
    assert "MLP" not in figure.data[0].x
    found.save(tmp_path / "out", figures=False)
    with (tmp_path / "out/heatmaps/student-core.csv").open(encoding="utf-8") as stream:
        assert [row["node"] for row in csv.DictReader(stream)][:2] == ["s0.b0.g0", "s0.b0.g1"]


def test_the_page_shows_images_and_asks_no_network(found: Comparison) -> None:
    page = render(found.result)
    failures = listing(found.result, "failures")
    shown = re.findall(r'<img class="input" src="([^"]+)" alt="([^"]+)">', page)
    assert len(shown) == len(failures) > 0
    alt = f"cell {failures[0]['cell']}, truth {failures[0]['truth']}"
    assert shown[0][1] == alt
    assert all(uri.startswith("data:image/png;base64,") for uri, _ in shown)
    assert "http://" not in page.split("<script")[0] and "https://" not in page.split("<script")[0]
    assert "a guess among 10 labels would be at 10 %" in page.replace("&nbsp;", " ")
    assert "right core, shortcut points away" in page
    assert "has no attention" in page


def test_confidence_reaches_down_to_a_guess_among_ten(found: Comparison) -> None:
    low, _ = found.figures.confidence().layout.yaxis.range
    assert low == 8


def test_an_image_model_against_itself_has_lost_nothing(folder: Path) -> None:
    same = compare(folder, "resnet", "resnet", examples=folder / "quads.jsonl")
    for part, names in (("losses", ("C", "N", "mean")), ("erosion", ("spurious_gap", "auc4"))):
        for name in names:
            assert estimate(same.result, part, name).value == 0
    for name in ("core", "shortcut", "attribution.core", "layers.core"):
        assert np.array_equal(same.arrays[f"teacher.{name}"], same.arrays[f"student.{name}"])


def test_files_of_images_give_what_the_images_give(folder: Path, found: Comparison) -> None:
    files = compare(folder, "vit", "resnet", examples=folder / "quads.jsonl")
    ids = branch(files.result, "task")["quads"]
    order = [branch(found.result, "task")["quads"].index(name) for name in ids]  # pyright: ignore
    for name in ("teacher.logits.N", "student.logits.A"):
        np.testing.assert_allclose(files.arrays[name], found.arrays[name][order], atol=1e-5)
    path = branch(listing(files.result, "failures")[0], "input")["path"]
    assert Path(str(path)).is_file()


def test_pairs_of_images_give_one_contrast(folder: Path, tmp_path: Path) -> None:
    pairs = compare(folder, "vit", "resnet", examples=write_image_pairs(tmp_path, 6))
    assert pairs.arrays["student.core"].shape[0] == 6
    assert "student.shortcut" not in pairs.arrays
    assert estimate(pairs.result, "models", "student", "pairs", "core", "clean_accuracy").n == 6


def test_groups_without_pairs_are_ablated(groups: Comparison) -> None:
    for role in ("teacher", "student"):
        ablation = branch(groups.result, "models", role, "ablation")
        assert (ablation["kind"], ablation["unit"]) == ("mean", "logits")
        values = groups.arrays[f"{role}.ablation"]
        assert values.shape == (18, 3, branch(groups.result, "models", role, "spec")["n_heads"])
        aligned = branch(ablation, "groups", "aligned", "nodes")
        n = estimate(aligned, next(iter(aligned))).n
        assert estimate(aligned, next(iter(aligned))).value == pytest.approx(
            values[:n, 0, 0].astype(np.float64).mean(), abs=1e-6
        )
        assert set(branch(ablation, "groups")) == {"aligned", "conflicting"}
        assert branch(groups.result, "models", role, "effects") == {}
        assert "attribution" not in branch(groups.result, "models", role)
    ablated = branch(groups.result, "task")["ablated"]
    assert isinstance(ablated, list) and len(ablated) == 18


def test_ablation_is_named_wherever_it_is_shown(groups: Comparison, tmp_path: Path) -> None:
    limits = groups.result["limits"]
    assert isinstance(limits, list) and any("no pairs to patch with" in line for line in limits)
    assert "(no pairs: mean ablation)" in heads_caption(groups.result, "student", "conflicting")
    assert "help on aligned examples" in heads_summary(groups.result)
    figure = groups.figures.heads("teacher", "aligned")
    assert "mean ablation; logits" in figure.layout.title.text
    groups.save(tmp_path / "out", figures=False)
    names = {path.name for path in (tmp_path / "out/heatmaps").iterdir()}
    assert names == {
        f"{role}-{group}.csv"
        for role in ("teacher", "student")
        for group in ("aligned", "conflicting")
    }
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "red helps the right answer" in page
    assert '<img class="input"' in page


def test_half_of_the_pairs_asked_for_are_taken_from_each_group(folder: Path) -> None:
    few = compare(folder, "vit-two", "vit-two", examples=folder / "birds", n_pairs=6)
    assert few.arrays["teacher.ablation"].shape[0] == 6
    assert np.array_equal(few.arrays["teacher.ablation"], few.arrays["student.ablation"])


def test_texts_for_an_image_model_and_images_for_a_text_model(
    folder: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(here)
    make_bert(here / "bert", n_layers=1, classes=("0", "1"))
    rows = [{"label": "0", "foil": "1", "clean": {"text": "a"}, "corrupted": {"text": "the"}}]
    write_rows(here / "texts.jsonl", rows)  # pyright: ignore[reportArgumentType]
    vit, birds = str(folder / "vit-two"), str(folder / "birds")
    assert main([vit, vit, "--examples", "texts.jsonl"]) == 2
    assert "'vit-two' reads images, but the inputs are texts" in capsys.readouterr().err
    assert main([vit, "bert", "--examples", birds]) == 2
    said = capsys.readouterr().err
    assert "The student 'bert' reads texts, but the inputs are images" in said
    assert len(said.splitlines()) == 1


def test_a_broken_image_is_named_before_the_run(
    folder: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(here)
    path = write_wilds(here / "birds")
    (path / "test-3.png").write_bytes((path / "test-3.png").read_bytes()[:60])
    vit = str(folder / "vit-two")
    assert main([vit, vit, "--examples", "birds"]) == 2
    said = capsys.readouterr().err
    assert "test-3.png" in said and len(said.splitlines()) == 1
    assert {each.name for each in here.iterdir()} == {"birds"}


def test_wilds_needs_a_folder(
    folder: Path,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(here)
    assert main([str(folder / "vit-two"), str(folder / "vit-two"), "--task", "wilds"]) == 2
    assert "Say which with --examples" in capsys.readouterr().err


def test_texts_are_quoted_as_before(folder: Path, tmp_path: Path) -> None:
    make_bert(tmp_path / "bert", n_layers=1, classes=("entailment", "non-entailment"), seed=1)
    make_bert(tmp_path / "other", n_layers=1, classes=("entailment", "non-entailment"), seed=2)
    path = write_quads(tmp_path / "quads.jsonl", 12)
    texts = compare(tmp_path, "bert", "other", examples=path)
    failures = listing(texts.result, "failures")
    assert failures and set(branch(failures[0], "input")) == {"premise", "hypothesis"}
    assert "<img" not in render(texts.result)
