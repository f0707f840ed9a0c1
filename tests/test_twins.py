"""Seed twins: what they are, what they decide, and where they stand in a result."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from comparing import TWO_WAY, enter_copy, write_quads
from modelmaking import make_bert
from simulated_answers import simulate_answers

from behavior.answers import QuadAnswers
from behavior.erosion import measure_losses
from behavior.errors import CircuitsError
from behavior.measures import measure_quads
from behavior.progress import Silent
from behavior.resampling import Resamples, resample_units
from circuits.compare import Comparison, compare_models
from circuits.compare.__main__ import main
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import ComparisonConfig
from circuits.compare.differences import compare_roles, judge
from circuits.compare.measuring import Draws, RoleMeasures
from circuits.compare.options import read_options
from circuits.compare.pipeline import dry_run, prepare, run_comparison
from circuits.compare.reading import branch, listing
from circuits.compare.running.steps import Steps
from circuits.compare.twins import LEAST_DELTA, choose_delta, seed_spread
from circuits.compare.wording import model_name

TWINS = ["--teacher-twins", "big-2", "big-3", "--student-twins", "small-2"]
COMMAND = [
    *("big", "small", "--examples", "quads.jsonl", "--n-pairs", "80", "--probe-quads", "64"),
    *("--discovery", "none", "--no-check", *TWINS),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    for name, n_layers, seed in (
        *(("big", 2, 1), ("big-2", 2, 2), ("big-3", 2, 3)),
        *(("small", 1, 4), ("small-2", 1, 5)),
    ):
        make_bert(home / name, n_layers=n_layers, seed=seed, classes=TWO_WAY)
    make_bert(home / "turned", n_layers=2, seed=2, classes=TWO_WAY[::-1])
    write_quads(home / "quads.jsonl", 64)
    return home


@pytest.fixture(scope="module")
def whole(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    """A comparison with twins, and the folder of its steps."""
    steps = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(models)
        config = replace(read_options(COMMAND).config, n_resamples=200)
        return run_comparison(config, Silent(), steps=Steps(steps)), steps


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(models, tmp_path, monkeypatch)


def test_the_result_says_which_twins_were_used_and_for_what(
    whole: tuple[Comparison, Path],
) -> None:
    result = whole[0].result
    named = [
        (row["model"], row["of"], row["checkpoint"]) for row in listing(result, "twins", "models")
    ]
    assert named == [
        ("teacher_twin_1", "teacher", "big-2"),
        ("teacher_twin_2", "teacher", "big-3"),
        ("student_twin_1", "student", "small-2"),
    ]
    digests = {str(row["digest"]) for row in listing(result, "twins", "models")}
    digests |= {str(branch(result, "models", role)["digest"]) for role in ("teacher", "student")}
    assert len(digests) == 5 and all(len(digest) == 64 for digest in digests)
    for role in ("teacher", "student"):
        assert branch(result, "twins", "spread", role)["value"] is not None
    assert branch(result, "config")["teacher_twins"] == ["big-2", "big-3"]


def test_twins_have_rows_of_their_own_in_the_stage_profile(
    whole: tuple[Comparison, Path],
) -> None:
    rows = listing(whole[0].result, "stages")
    stages = {
        model: [row["stage"] for row in rows if row["model"] == model]
        for model in ("teacher", "teacher_twin_1", "teacher_twin_2", "student_twin_1", "student")
    }
    assert stages["teacher_twin_1"] == stages["teacher_twin_2"] == stages["teacher"]
    assert stages["student_twin_1"] == stages["student"]
    assert "teacher_twin_2.probe.m1.core_NL" in whole[0].arrays


def test_twins_are_nulls_of_the_alignment(whole: tuple[Comparison, Path]) -> None:
    nulls = branch(whole[0].result, "alignment", "null", "nulls")
    assert {"teacher twin 1", "teacher twin 2", "student twin 1"} <= set(nulls)
    assert "and 3 of another seed" in str(branch(whole[0].result, "alignment")["reason"])


def test_only_what_depends_on_twins_runs_again_with_others(
    whole: tuple[Comparison, Path], here: Path
) -> None:
    config = replace(read_options(COMMAND).config, n_resamples=200, teacher_twins=("big-2",))
    said: list[str] = []
    run_comparison(config, Silent(), steps=Steps(whole[1], resume=True, say=said.append))
    again = [line for line in said if line.startswith("run again")]
    assert again == ["run again, teacher twin 2 differs: matching heads"]


def test_a_stored_config_with_twins_is_read_as_it_was(whole: tuple[Comparison, Path]) -> None:
    config = whole[0].config
    assert (config.teacher_twins, config.student_twins) == (("big-2", "big-3"), ("small-2",))
    assert ComparisonConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert ComparisonConfig.from_json({"teacher": "a", "student": "b"}).teacher_twins == ()


def test_without_twins_the_result_does_not_speak_of_them(here: Path) -> None:
    found = compare_models(
        "big", "small", examples="quads.jsonl", n_pairs=20, discovery="none",
        interventions=False, n_probe_quads=0, n_resamples=50, check=False,
    )  # fmt: skip
    assert "twins" not in found.result
    assert not any("twin" in sentence for sentence in found.verdict.sentences)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--teacher-twins", "big"], "'big' is given twice, or is teacher or student itself"),
        (["--teacher-twins", "big-2", "big-2"], "'big-2' is given twice"),
        (["--teacher-twins", "small-2"], "'small-2' is no twin of the teacher 'big'"),
        (["--teacher-twins", "turned"], "other classes"),
        (["--student-twins", "./small"], "has the weights of the student"),
        (["--teacher-twins", "nobody"], "'nobody' is neither a name, a local folder nor a hub id"),
    ],
)
def test_what_is_no_twin_is_refused_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], options: Sequence[str], words: str
) -> None:
    assert main([*COMMAND[: -len(TWINS)], *options, "--out", "out"]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.splitlines()) == 1 and said.out == ""
    assert not (here / "out").exists()


def test_a_students_twins_are_refused_beside_several_students() -> None:
    with pytest.raises(CircuitsError, match="belong to one student, but 2 were given"):
        read_options(["t", "a", "b", "--student-twins", "c"])
    assert read_options(["t", "a", "b", "--teacher-twins", "c"]).config.teacher_twins == ("c",)


def test_a_dry_run_counts_twins(here: Path) -> None:
    lines = dry_run(read_options(COMMAND).config, Silent())
    assert sum("_twin_" in line for line in lines) == 3


def test_models_that_are_given_in_several_places_are_opened_once(here: Path) -> None:
    config = read_options(COMMAND).config
    opened = {}
    first = prepare(config, Silent(), opened=opened)
    second = prepare(replace(config, student="small-2", student_twins=()), Silent(), opened=opened)
    assert second.models["teacher"] is first.models["teacher"]
    assert second.models["student"] is first.twins[2].model


# Delta


def resampled(answers: QuadAnswers) -> Resamples:
    return resample_units(answers.units, answers.templates, 200)


def test_a_spread_is_the_largest_difference_of_any_two_seeds_whatever_their_order() -> None:
    seeds = [simulate_answers(size, 0.0, seed=i) for i, size in enumerate((6.0, 2.0, 1.0))]
    drawn = resampled(seeds[0])
    found = seed_spread(seeds, drawn)
    largest = measure_losses(seeds[0], seeds[2], drawn)["mean"]
    assert found.value == pytest.approx(largest.value)
    turned = seed_spread(seeds[::-1], drawn)
    assert (turned.value, turned.low) == pytest.approx((found.value, found.low))
    assert turned.low is not None and turned.high is not None and turned.low < turned.high
    assert seed_spread(seeds[:1], drawn).reason == "no twin was given"
    assert seed_spread([seeds[0], None], drawn).reason == "the data hold no quads"


@pytest.mark.parametrize(
    ("sizes", "claimed", "equal"),
    [((40.0, 40.0), (LEAST_DELTA, LEAST_DELTA), (LEAST_DELTA, LEAST_DELTA)),
     ((10.0, 6.0), (0.05, 0.10), (0.05, 0.10)),
     ((40.0, 2.0), (0.2, 0.4), (0.10, 0.10))],
)  # fmt: skip
def test_delta_is_what_seeds_show_and_two_models_are_never_equal_more_easily(
    sizes: tuple[float, float], claimed: tuple[float, float], equal: tuple[float, float]
) -> None:
    answers = [simulate_answers(size, 0.0, seed=i) for i, size in enumerate(sizes)]
    found = choose_delta({"teacher": answers, "student": answers[:1]}, resampled(answers[0]), 0.10)
    assert claimed[0] <= found.claimed <= claimed[1]
    assert equal[0] <= found.equal <= equal[1]
    assert f"a loss has to exceed {found.claimed:.2f}" in found.sentence


def test_the_spread_of_students_is_told_and_moves_no_delta() -> None:
    answers = [simulate_answers(size, 0.0, seed=i) for i, size in enumerate((40.0, 1.0))]
    seeds = {"teacher": answers[:1], "student": answers}
    found = choose_delta(seeds, resampled(answers[0]), 0.10)  # pyright: ignore[reportArgumentType]
    assert (found.claimed, found.equal, found.sentence) == (0.10, 0.10, "")
    assert (found.spread["student"].value or 0) > 0.2


@pytest.mark.parametrize(("twin", "status"), [(40.0, "erosion"), (1.0, "undecided")])
def test_a_loss_within_what_seeds_show_is_no_erosion_and_is_not_called_none(
    twin: float, status: str
) -> None:
    teacher, other = simulate_answers(40.0, 0.0, seed=1), simulate_answers(twin, 0.0, seed=2)
    student, drawn = simulate_answers(2.0, 0.0, seed=3), resampled(teacher)
    delta = choose_delta({"teacher": [teacher, other], "student": [student]}, drawn, 0.10)
    answers = {"teacher": role_answers(teacher), "student": role_answers(student)}
    config = ComparisonConfig("t", "s", n_resamples=200)
    differences = compare_roles(answers, Draws(drawn, None), config)  # pyright: ignore[reportArgumentType]
    measures = {
        role: RoleMeasures(measure_quads(given, drawn), {}, {})
        for role, given in (("teacher", teacher), ("student", student))
    }
    verdict = judge(measures, differences, delta)  # pyright: ignore[reportArgumentType]
    assert verdict.status == status
    assert verdict.sentences[-1] == delta.sentence


def role_answers(quads: QuadAnswers) -> RoleAnswers:
    return RoleAnswers(quads, {}, None, torch.zeros(0, dtype=torch.long), {})


def test_without_twins_delta_is_what_was_set() -> None:
    answers = simulate_answers(6.0, 0.0, seed=1)
    found = choose_delta({"teacher": [answers], "student": [answers]}, resampled(answers), 0.07)
    assert (found.claimed, found.equal, found.sentence) == (0.07, 0.07, "")


def test_names_of_twins_are_words_for_people() -> None:
    assert model_name("teacher_twin_2") == "teacher, twin 2"
    assert model_name("student_debiased") == "student, debiased"
    assert model_name("untrained_student") == "untrained_student"
