"""The stage profile: names and depths in every family, untrained nets, and what is read where."""

from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import DIGITS, TWO_WAY, write_quads
from modelmaking import FAMILIES, IMAGE_FAMILIES, make_bert, make_family, make_inputs

from behavior.progress import Silent
from behavior.tasks import load_task
from circuits.compare import Comparison, compare_models
from circuits.compare.config import ComparisonConfig
from circuits.compare.evidence import gather_evidence
from circuits.compare.options import read_options
from circuits.compare.pipeline import Prepared, dry_run, prepare
from circuits.compare.profile.location import locate
from circuits.compare.profile.stage_losses import stage_losses
from circuits.compare.profile.stage_reading import (
    BLIND,
    LEFT_OUT,
    StageReadings,
    draw_probe_quads,
    read_stages,
)
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.untrained import untrained_like
from patching import load_checkpoint
from probes.linear import QUESTIONS
from probes.stream import stream_points

NAMES = {
    "t5": [
        *("enc.input", "enc.a0", "enc.m0", "enc.a1", "enc.m1", "enc.a2", "enc.m2"),
        *("dec.input", "dec.a0", "dec.x0", "dec.m0", "dec.a1", "dec.x1", "dec.m1"),
    ],
    "resnet": ["input", "s0.b0", "s0.b1", "s1.b0"],
}
NAMES |= {"t5-words": NAMES["t5"], "resnet-bottleneck": NAMES["resnet"]}
LAYERS = ["input", "a0", "m0", "a1", "m1", "a2", "m2"]
N = 80


@pytest.mark.parametrize("family", FAMILIES)
def test_stages_of_every_family_run_from_the_embedding_to_the_end(
    family: str, tmp_path: Path
) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    points = stream_points(model)
    assert [point.name for point in points] == NAMES.get(family, LAYERS)
    depths = [point.depth for point in points]
    assert depths == sorted(depths)
    assert (depths[0], depths[-1]) == (0.0, 1.0)
    blind = [point.name for point in points if point.blind]
    assert blind == (["dec.input", "dec.a0"] if family.startswith("t5") else [])
    found = model.sites([point.site for point in points])
    assert len(set(found)) == len(points)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_untrained_net_is_the_same_architecture_with_other_weights(
    family: str, tmp_path: Path
) -> None:
    model = load_checkpoint(make_family(tmp_path / "model", family))
    state = torch.get_rng_state()
    first, again, other = (untrained_like(model, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    inputs = make_inputs(family, 3)
    assert first.spec == model.spec
    assert torch.equal(first.logits(inputs), again.logits(inputs))
    assert not torch.allclose(first.logits(inputs), other.logits(inputs))
    assert not torch.allclose(first.logits(inputs), model.logits(inputs))
    assert not first.hf.training and first.dtype == model.dtype


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=3, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=2, seed=2, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", N)
    return home


def config_of(folder: Path, student: str = "small", **options: object) -> ComparisonConfig:
    given = {"examples": str(folder / "quads.jsonl"), "n_pairs": 8, "n_resamples": 100, **options}
    return ComparisonConfig(str(folder / "big"), str(folder / student), **given)  # pyright: ignore


@pytest.fixture(scope="module")
def prepared(folder: Path) -> Prepared:
    return prepare(config_of(folder), Silent())


@pytest.fixture(scope="module")
def readings(folder: Path, prepared: Prepared) -> StageReadings:
    return read_stages(prepared.models, prepared.evidence, config_of(folder), Silent())


@pytest.fixture(scope="module")
def found(folder: Path) -> Comparison:
    return compare_models(
        folder / "big",
        folder / "small",
        examples=folder / "quads.jsonl",
        n_pairs=8,
        n_resamples=100,
        discovery="none",
    )


def test_every_model_and_its_untrained_net_has_a_row_for_every_stage(found: Comparison) -> None:
    rows = listing(found.result, "stages")
    by_model = {str(row["model"]): [] for row in rows}
    for row in rows:
        by_model[str(row["model"])].append(row["stage"])
    big, small = LAYERS, LAYERS[:5]
    assert by_model == {
        "teacher": big, "student": small, "untrained_teacher": big, "untrained_student": small,
    }  # fmt: skip
    for row in rows:
        for name in (*QUESTIONS, "core_AC_auc", "core_NL_auc"):
            number = estimate(row, name)
            assert number.value is not None and number.low is not None and number.n == N
        patched = str(row["stage"]).startswith("a") and "untrained" not in str(row["model"])
        assert ("layer_core" in row) == patched


def test_numbers_are_those_of_the_stored_margins(found: Comparison) -> None:
    truth = {"core_AC": [1, 0], "core_NL": [1, 0], "transfer": [1, 0], "shortcut": [1, 0, 1, 0]}
    for row in listing(found.result, "stages"):
        for question, wanted in truth.items():
            margins = found.arrays[f"{row['model']}.probe.{row['stage']}.{question}"]
            assert margins.shape == (N, len(wanted)) and margins.dtype == np.float32
            right = ((margins >= 0) == np.array(wanted, dtype=bool)).mean()
            assert estimate(row, question).value == pytest.approx(right)
    assert branch(found.result, "task", "probed")["quads"] is not None


def test_the_limits_say_what_a_probe_cannot_say(found: Comparison) -> None:
    said = " ".join(str(each) for each in found.result["limits"])  # pyright: ignore
    assert "Whether what can be read at a stage is used" in said
    assert "Where in the networks it was lost" not in said


def test_students_are_compared_at_the_nearest_stage_and_the_earlier_of_two(
    readings: StageReadings,
) -> None:
    losses = stage_losses(readings, "teacher", "student")
    matched = {each.stage: each.teacher_stage for each in losses}
    assert matched == {"input": "input", "a0": "a0", "m0": "a1", "a1": "m1", "m1": "m2"}
    for each in losses:
        assert each.loss.value == pytest.approx(
            (each.teacher.value or 0) - (each.student.value or 0)
        )
        assert each.loss.low is not None and each.loss.low <= (each.loss.value or 0)


def test_a_model_loses_nothing_to_itself_and_swapping_flips_the_sign(
    readings: StageReadings,
) -> None:
    same = stage_losses(readings, "teacher", "teacher")
    assert [each.loss.value for each in same] == [0.0] * 7
    one = stage_losses(readings, "student", "untrained_student")
    other = stage_losses(readings, "untrained_student", "student")
    for first, second in zip(one, other, strict=True):
        assert first.loss.value == -(second.loss.value or 0.0)
    assert stage_losses(readings, "teacher", "student_debiased") == ()


def test_equal_models_are_read_alike(folder: Path) -> None:
    config = config_of(folder, "big", n_probe_quads=50)
    ready = prepare(config, Silent())
    found = read_stages(ready.models, ready.evidence, config, Silent())
    assert found.models["teacher"] is found.models["student"]
    assert found.models["untrained_teacher"] is found.models["untrained_student"]
    assert locate(stage_losses(found, "teacher", "student")).answer != "located"


def test_quads_that_the_comparison_does_not_use_come_first(
    folder: Path, prepared: Prepared
) -> None:
    used = {quad.id for quad in prepared.evidence.quads}
    assert len(used) == 4
    some = draw_probe_quads(prepared.evidence, config_of(folder, n_probe_quads=N - 4))
    assert not used & {quad.id for quad in some}
    every = draw_probe_quads(prepared.evidence, config_of(folder))
    assert len({quad.id for quad in every}) == N
    assert {quad.id for quad in every[-4:]} == used


def test_a_task_without_end_gives_quads_of_another_seed() -> None:
    config = ComparisonConfig("a", "b", seed=3, n_pairs=60, n_examples=4, n_probe_quads=40)
    evidence = gather_evidence(load_task("nli-overlap"), config)
    found = draw_probe_quads(evidence, config)
    assert (len(evidence.quads), len(found)) == (30, 40)
    assert not {quad.id for quad in found} & {quad.id for quad in evidence.quads}


def test_too_few_quads_give_null_with_the_reason(folder: Path, prepared: Prepared) -> None:
    config = config_of(folder, n_probe_quads=40)
    found = read_stages(prepared.models, prepared.evidence, config, Silent())
    assert not found.measured and not found.arrays()
    number = found.numbers(found.models["student"][2])["core_NL"]
    assert isinstance(number, dict) and number["value"] is None
    assert str(number["reason"]).startswith("too few quads for this width (")
    losses = stage_losses(found, "teacher", "student")
    assert str(locate(losses).reason).startswith("too few quads for this width")


def test_probes_can_be_left_out(folder: Path, prepared: Prepared) -> None:
    config = config_of(folder, n_probe_quads=0)
    found = read_stages(prepared.models, prepared.evidence, config, Silent())
    number = found.numbers(found.models["teacher"][0])["core_AC"]
    assert number == {"value": None, "reason": LEFT_OUT, "n": 0}
    assert set(found.models) == {"teacher", "student"}
    assert read_options(["a", "b", "--probe-quads", "0"]).config.n_probe_quads == 0


def test_probes_are_part_of_the_cost(folder: Path) -> None:
    def forwards(n: int) -> list[int]:
        lines = dry_run(config_of(folder, n_probe_quads=n, check=False), Silent())
        counted = [line.split(" forwards")[0].rsplit(" ", 1)[1] for line in lines[1:3]]
        return [int(each.replace(",", "")) for each in counted]

    none, some = forwards(0), forwards(10)
    assert [b - a for a, b in zip(none, some, strict=True)] == [80, 80]


@pytest.mark.parametrize("family", ["t5", "resnet"])
def test_other_families_are_read_to_the_end(family: str, tmp_path: Path) -> None:
    sizes = {"resnet": {**DIGITS, "hidden_sizes": [9, 9]}, "t5": {}}[family]
    make_family(tmp_path / "model", family, **sizes)
    given = {"task": "digits"} if family in IMAGE_FAMILIES else {}
    given = given or {"examples": str(write_quads(tmp_path / "quads.jsonl", 100))}
    reference = str(tmp_path / "model")
    config = ComparisonConfig(
        reference, reference, n_pairs=4, n_examples=4, n_probe_quads=100, n_resamples=50, **given
    )
    ready = prepare(config, Silent())
    found = read_stages(ready.models, ready.evidence, config, Silent())
    for reading in found.models["teacher"]:
        assert (reading.answers is None) == reading.point.blind
        assert reading.reason == (BLIND if reading.point.blind else None)
    losses = stage_losses(found, "teacher", "student")
    assert [each.stage for each in losses] == [
        name for name in NAMES[family] if name not in ("dec.input", "dec.a0")
    ]
