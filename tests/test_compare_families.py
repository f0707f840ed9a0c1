"""Every family through a whole comparison, and attribution beside exact patching."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from comparing import DIGITS, write_quads
from modelmaking import IMAGE_FAMILIES, TEXT_FAMILIES, make_family, make_inputs

from behavior.examples import Example
from behavior.resampling import resample_units
from behavior.sources import SourceTask
from circuits.compare import Comparison, compare_models
from circuits.compare.__main__ import main
from circuits.compare.config import Backend
from circuits.compare.estimating import NO_SPREAD, TOO_FEW_HEADS, correlate_heads
from circuits.compare.options import read_options
from circuits.compare.page.component_captions import attribution_caption
from circuits.compare.page.report import render
from circuits.compare.reading import branch, estimate, listing
from patching.models.backends import BACKENDS

ROWS = {
    "t5": ["enc.a0", "enc.a1", "enc.a2", "dec.a0", "dec.x0", "dec.a1", "dec.x1"],
    "t5-words": ["enc.a0", "enc.a1", "enc.a2", "dec.a0", "dec.x0", "dec.a1", "dec.x1"],
    "resnet": ["s0.b0", "s0.b1", "s1.b0"],
    "resnet-bottleneck": ["s0.b0", "s0.b1", "s1.b0"],
}


@pytest.fixture(scope="module", params=(*TEXT_FAMILIES, *IMAGE_FAMILIES))
def compared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Comparison]:
    family: str = request.param
    home = tmp_path_factory.mktemp(family)
    sizes = DIGITS if family in IMAGE_FAMILIES else {}
    for name, seed in (("teacher", 1), ("student", 2)):
        make_family(home / name, family, seed=seed, **sizes)
    evidence = {"examples": write_quads(home / "quads.jsonl", 6)}
    options = {"task": "digits"} if family in IMAGE_FAMILIES else evidence
    found = compare_models(
        home / "teacher",
        home / "student",
        n_pairs=12,
        n_examples=10,
        n_probe_quads=8,
        n_resamples=50,
        **options,
    )
    return family, found


def test_every_family_is_patched_row_by_row(compared: tuple[str, Comparison]) -> None:
    family, found = compared
    rows = ROWS.get(family, ["a0", "a1", "a2"])
    spec = branch(found.result, "models", "student", "spec")
    assert spec["rows"] == rows
    for name in ("core", "shortcut", "attribution.core", "attribution.shortcut"):
        values = found.arrays[f"student.{name}"]
        assert values.shape == (12, len(rows), spec["n_heads"])
        assert np.isfinite(values).all() and values.std() > 0
    stages = [row for row in listing(found.result, "stages") if row["model"] == "teacher"]
    patched = [row for row in stages if "layer_core" in row]
    assert [row["stage"] for row in patched] == rows
    end = 2 if family.startswith("resnet") else 1
    depths = [(2 * i + end) / (2 * len(rows)) for i in range(len(rows))]
    assert [row["depth"] for row in patched] == pytest.approx(depths)


def test_every_family_gets_its_page_and_maps(compared: tuple[str, Comparison]) -> None:
    family, found = compared
    rows = ROWS.get(family, ["0", "1", "2"])
    figure = found.figures.heads("teacher", "shortcut")
    assert list(figure.data[0].y) == rows
    assert ("MLP" in figure.data[0].x) == (not family.startswith("resnet"))
    page = render(found.result)
    assert page.count('data-figure="attribution-') == 2
    assert ("channel group" in page) == family.startswith("resnet")


def test_rows_without_an_mlp_leave_its_cell_empty(compared: tuple[str, Comparison]) -> None:
    family, found = compared
    figure = found.figures.heads("student", "core")
    empty = np.isnan(np.array(figure.data[0].z, dtype=float)).any(axis=1)
    without = [name for name, is_empty in zip(figure.data[0].y, empty, strict=True) if is_empty]
    assert without == (["dec.a0", "dec.a1"] if family.startswith("t5") else [])


def test_the_scatter_shows_the_means_of_the_arrays(compared: tuple[str, Comparison]) -> None:
    _, found = compared
    exact, estimated = (
        found.arrays[f"student.{name}"].astype(np.float64).reshape(12, -1).mean(0)
        for name in ("core", "attribution.core")
    )
    stored = branch(found.result, "models", "student", "attribution", "core")
    for i, node in enumerate(branch(stored, "nodes")):
        assert estimate(stored, "nodes", node, "logits").value == pytest.approx(
            estimated[i], abs=1e-5
        )
    pearson = estimate(stored, "pearson")
    assert pearson.value == pytest.approx(np.corrcoef(exact, estimated)[0, 1], abs=1e-4)
    assert pearson.n == 6
    figure = found.figures.attribution("core")
    assert [trace.name for trace in figure.data] == ["equal", "teacher", "student"]
    assert len(figure.data[2].x) == len(exact)
    assert figure.layout.xaxis.title.text.startswith("attribution (")
    assert figure.layout.yaxis.title.text.startswith("exact patching (")


def test_the_caption_says_first_order_and_how_many(compared: tuple[str, Comparison]) -> None:
    family, found = compared
    said = attribution_caption(found.result, "core")
    assert "Attribution is first order" in said
    kind = "channel groups" if family.startswith("resnet") else "heads"
    n = found.arrays["student.core"][0].size
    assert f"over {n} {kind}" in said and "n = 6 quads" in said


def test_correlation_is_one_for_any_positive_multiple() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(20, 5))
    drawn = resample_units([f"u{i}" for i in range(20)])
    one = correlate_heads(3 * exact, exact, drawn)
    assert one.value == pytest.approx(1.0) and one.low == pytest.approx(1.0)
    assert correlate_heads(-exact, exact, drawn).value == pytest.approx(-1.0)
    noisy = correlate_heads(exact + rng.normal(size=exact.shape), exact, drawn)
    assert noisy.low is not None and noisy.high is not None
    assert -1 <= noisy.low < noisy.high <= 1


def test_a_correlation_that_cannot_be_says_why() -> None:
    drawn = resample_units([f"u{i}" for i in range(8)])
    assert correlate_heads(np.ones((8, 2)), np.ones((8, 2)), drawn).reason == TOO_FEW_HEADS
    assert correlate_heads(np.ones((8, 4)), np.ones((8, 4)), drawn).reason == NO_SPREAD


def test_an_unknown_backend_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert get_args(Backend) == BACKENDS
    with pytest.raises(SystemExit, match="2"):
        read_options(["a", "b", "--backend", "jax"])
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert read_options(["a", "b", "--backend", "nnsight"]).config.backend == "nnsight"


@pytest.mark.parametrize("backend", ["nnsight", "transformer-lens"])
def test_another_backend_patches_to_the_same_numbers(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend.replace("-", "_"))
    path = write_quads(tmp_path / "quads.jsonl", 6)
    make_family(tmp_path / "model", "bert", seed=1)
    plain, other = (
        compare_models(
            tmp_path / "model",
            tmp_path / "model",
            examples=path,
            n_pairs=8,
            n_resamples=50,
            backend=name,
        )
        for name in ("hooks", backend)
    )
    margin = max(np.abs(plain.arrays["teacher.clean.core"]).max(), 1.0)
    for name, values in plain.arrays.items():
        np.testing.assert_allclose(other.arrays[name], values, atol=1e-5 * margin, err_msg=name)
    assert branch(other.result, "config")["backend"] == backend
    assert branch(other.result, "provenance")["backend"] == backend
    assert backend in branch(other.result, "provenance", "versions")
    assert f"patched with {backend}" in attribution_caption(other.result, "core")
    page = render(other.result)
    by_hooks = "attribution, circuits, direct paths and answers by plain hooks"
    assert f"<dd>{backend}; {by_hooks}</dd>" in page


def test_a_backend_that_cannot_open_a_family_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformer_lens")
    monkeypatch.chdir(tmp_path)
    make_family(tmp_path / "model", "resnet", **DIGITS)
    capsys.readouterr()
    given = ["model", "model", "--task", "digits", "--backend", "transformer-lens"]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "'hooks' or 'nnsight'" in said


def test_prompt_and_label_words_of_an_entry_are_used_and_stored(tmp_path: Path) -> None:
    make_family(tmp_path / "model", "t5-words")
    (tmp_path / "mine.yaml").write_text(
        "version: 1\ncheckpoints:\n"
        "  plain: {path: model}\n"
        "  asked:\n"
        "    path: model\n"
        '    prompt: "the {premise} . the {hypothesis}"\n'
        "    label_words: {entailment: doctor, neutral: nurse, contradiction: judge}\n"
    )
    path = write_quads(tmp_path / "quads.jsonl", 6)
    found = compare_models(
        "plain", "asked", checkpoints=str(tmp_path / "mine.yaml"), examples=path, n_resamples=50
    )
    teacher, student = (branch(found.result, "models", role) for role in ("teacher", "student"))
    assert teacher["digest"] == student["digest"] and "prompt" not in teacher
    assert student["prompt"] == "the {premise} . the {hypothesis}"
    assert branch(student, "label_words")["neutral"] == "nurse"
    assert not np.allclose(found.arrays["teacher.logits.A"], found.arrays["student.logits.A"])


def test_labelled_texts_with_known_groups_are_ablated(tmp_path: Path) -> None:
    make_family(tmp_path / "model", "bert", seed=1)
    names = ("entailment", "contradiction")
    examples = tuple(
        Example(f"e{i}", each, names[i % 2], i % 3 > 0, f"group {i % 3}")
        for i, each in enumerate(make_inputs("bert", 12))
    )
    task = SourceTask("mine", {}, {"test": examples}, {})
    found = compare_models(tmp_path / "model", tmp_path / "model", task=task, n_resamples=50)
    ablation = branch(found.result, "models", "student", "ablation")
    assert ablation["reference"] == "mean over 12 inputs, over all positions"
    nodes = branch(ablation, "groups", "conflicting", "nodes")
    assert list(nodes)[:2] == ["a0.h0", "a0.h1"] and estimate(nodes, "a0.h0").n == 4
    assert listing(found.result, "stages") == [] and "student.core" not in found.arrays
    assert np.array_equal(found.arrays["teacher.ablation"], found.arrays["student.ablation"])
    assert "no pairs: mean ablation" in render(found.result)
