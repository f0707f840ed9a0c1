"""Seeds of one recipe pooled: identities of the t interval, the decision table, refusals."""

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results import made_up_result, number
from scipy import stats

from behavior.errors import ResultError
from behavior.estimates import Estimate
from circuits.compare.recipe.comparable import read_runs
from circuits.compare.recipe.page import render_recipe
from circuits.compare.recipe.pooling import pool
from circuits.compare.recipe.summary import summarize
from circuits.compare.recipe.verdict import Seed, decide_recipe
from circuits.compare.storage import Json, write_result
from circuits.summarize import main

LOSSES = (0.55, 0.40, 0.70, 0.62)


def as_dict(value: object) -> dict[str, Any]:
    assert isinstance(value, dict)
    return value


def seed_result(seed: int, loss: float = 0.5, status: str = "erosion") -> Json:
    """A made-up comparison of another student and teacher, with this mean loss."""
    result = made_up_result()
    result["config"] = {
        **as_dict(result["config"]),
        **{"teacher": f"t{seed}", "student": f"s{seed}", "seed": seed, "delta": 0.1},
        **{"n_pairs": 800, "device": "cpu"},
    }
    for role, model in as_dict(result["models"]).items():
        model["digest"] = f"{role}-{seed}"
    result["losses"] = {name: number(loss, 0.05) for name in ("C", "N", "mean")}
    as_dict(result["verdict"]).update(status=status, location="located", stage="m0")
    return result


def write_runs(folder: Path, results: list[Json]) -> list[Path]:
    folders: list[Path] = []
    for i, result in enumerate(results):
        run = folder / f"run-{i}"
        run.mkdir(parents=True)
        write_result(run, result, {"student.core": np.zeros((1, 1, 1), np.float32)})
        folders.append(run)
    return folders


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return write_runs(tmp_path, [seed_result(i, loss) for i, loss in enumerate(LOSSES)])


def test_the_interval_is_students_whatever_the_number_of_quads() -> None:
    for n_quads in (10, 10_000):
        found = pool("loss", [Estimate(v, v - 0.01, v + 0.01, n_quads) for v in LOSSES])
        expected = stats.ttest_1samp(LOSSES, 0).confidence_interval(0.95)
        assert found.mean.n == len(LOSSES)
        assert found.mean.low == pytest.approx(expected.low)
        assert found.mean.high == pytest.approx(expected.high)


def test_one_further_seed_is_wider_by_the_root_of_n_plus_one() -> None:
    found = pool("loss", [Estimate(v, None, None, 1, "no interval") for v in LOSSES])
    widths = [(each.high or 0) - (each.low or 0) for each in (found.mean, found.further)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt(len(LOSSES) + 1))


def test_signs_are_in_brackets_where_a_seed_alone_shows_none() -> None:
    seeds = [number(0.3, 0.1), number(0.1, 0.2), number(-0.1, 0.2), number(-0.3, 0.1)]
    found = pool("loss", [Estimate.from_json(each) for each in seeds])
    assert found.signs == ("+", "(+)", "(-)", "-")


def test_a_missing_seed_is_counted_out_and_not_as_zero() -> None:
    seeds = [Estimate.from_json(number(0.4)), Estimate.null("no plain teacher")]
    found = pool("retention", seeds, signed=False)
    assert found.mean.value == 0.4 and found.mean.n == 1 and found.signs == ()
    assert pool("retention", seeds[1:]).mean.reason == "no plain teacher"


def test_every_number_comes_from_the_runs(runs: list[Path]) -> None:
    stored = summarize(read_runs(runs))
    c1, c2 = (as_dict(as_dict(stored["claims"])[claim]) for claim in ("C1", "C2"))
    assert c1["loss"]["mean"]["value"] == pytest.approx(statistics.mean(LOSSES))
    assert [each["value"] for each in c1["loss"]["seeds"]] == list(LOSSES)
    first = as_dict(json.loads((runs[0] / "result.json").read_text())["models"])
    own, other = (
        first[role]["behavior"]["conflicting_accuracy"]["value"]
        for role in ("student", "student_debiased")
    )
    assert c2["conflicting_accuracy"]["seeds"][0]["value"] == pytest.approx(own - other)
    # AUC4 is stored as student minus teacher; a loss is the other way round.
    assert c1["auc4_loss"]["seeds"][0]["value"] == pytest.approx(0.21)
    assert stored["statuses"] == {"erosion": 4} and stored["locations"] == {"located": 4}
    assert as_dict(stored["verdict"])["status"] == "erosion"
    assert as_dict(stored["verdict"])["stage"] == "m0"


def test_the_order_of_the_runs_does_not_matter(runs: list[Path]) -> None:
    one, other = (summarize(read_runs(each)) for each in (runs, runs[::-1]))
    assert one["verdict"] == other["verdict"]
    for name, found in as_dict(as_dict(one["claims"])["C1"]).items():
        again = as_dict(as_dict(other["claims"])["C1"])[name]
        assert found["mean"]["value"] == pytest.approx(again["mean"]["value"])
        assert found["mean"].get("low") == pytest.approx(again["mean"].get("low"))


Ends = tuple[float, float]


def judged(statuses: list[str], loss: Ends, auc4: Ends, delta: float = 0.1) -> str:
    n = len(statuses)
    pooled = [
        pool("", [Estimate(low + (high - low) * i / max(n - 1, 1), 0.0, 0.0, 9) for i in range(n)])
        for low, high in (loss, auc4)
    ]
    return decide_recipe([Seed(status) for status in statuses], *pooled, delta).status


E, S, N, U = "erosion", "threshold shift", "no erosion", "undecided"


@pytest.mark.parametrize(
    ("statuses", "loss", "auc4", "expected"),
    [
        ([E, E], (0.5, 0.5), (0.2, 0.2), U),
        ([E, E, E], (0.5, 0.52), (0.2, 0.21), E),
        ([E, E, U], (0.5, 0.52), (0.2, 0.21), U),
        ([E, E, E, E, U], (0.5, 0.55), (0.2, 0.22), E),
        ([E, E, E], (0.05, 0.9), (0.2, 0.21), U),
        ([E, E, E], (0.5, 0.52), (-0.1, 0.2), U),
        ([N, N, N], (0.0, 0.01), (0.0, 0.001), N),
        ([N, N, N], (0.0, 0.01), (0.03, 0.04), U),
        ([N, N, N, E], (0.0, 0.01), (0.0, 0.001), U),
        ([N, N, U], (0.0, 0.01), (0.0, 0.001), U),
        ([S, S, S], (0.3, 0.32), (0.0, 0.001), S),
        ([S, S, E], (0.3, 0.32), (0.0, 0.001), U),
        ([U, U, U], (0.3, 0.32), (0.2, 0.21), U),
    ],
)
def test_the_decision_table(statuses: list[str], loss: Ends, auc4: Ends, expected: str) -> None:
    assert judged(statuses, loss, auc4) == expected


def test_a_larger_delta_takes_an_erosion_back() -> None:
    assert judged([E] * 3, (0.3, 0.31), (0.2, 0.21), delta=0.1) == E
    assert judged([E] * 3, (0.3, 0.31), (0.2, 0.21), delta=0.5) == U


def test_a_location_needs_most_seeds() -> None:
    sure = pool("", [Estimate(0.5, 0.4, 0.6, 9)] * 4)
    places = [("located", "m0")] * 3 + [("not located", None)]
    found = decide_recipe([Seed(E, *place) for place in places], sure, sure, 0.1)
    assert (found.location, found.stage) == ("located", "m0")
    places = [("located", "m0"), ("located", "m1"), ("located", "a1"), ("located", "m0")]
    found = decide_recipe([Seed(E, *place) for place in places], sure, sure, 0.1)
    assert (found.location, found.stage) == ("located", None)
    places = [("located", "m0")] * 2 + [("present, not used", None)] * 2
    found = decide_recipe([Seed(E, *place) for place in places], sure, sure, 0.1)
    assert (found.location, found.stage) == (None, None)


def test_a_location_that_was_never_measured_is_not_counted(tmp_path: Path) -> None:
    results = [seed_result(i) for i in range(3)]
    for result in results:
        as_dict(result["verdict"]).update(location="not located", stage=None)
        result["stages"] = []
    stored = summarize(read_runs(write_runs(tmp_path, results)))
    assert stored["locations"] == {"not asked": 3}
    assert as_dict(stored["verdict"])["location"] is None


def changed_task(result: Json) -> None:
    as_dict(result["task"])["name"] = "digits"


def changed_roles(result: Json) -> None:
    del as_dict(result["models"])["teacher_plain"]


def changed_config(result: Json) -> None:
    as_dict(result["config"])["n_pairs"] = 100


def changed_size(result: Json) -> None:
    as_dict(result["models"])["student"]["spec"]["d_model"] = 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_task, "the task is nli-overlap in the first and digits in the other"),
        (changed_roles, "the set of roles is teacher, student, teacher_plain"),
        (changed_config, "n_pairs is 800 in the first and 100 in the other"),
        (changed_size, "d_model of the student is 64 in the first and 32 in the other"),
    ],
)
def test_runs_of_another_recipe_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Json], None],
    words: str,
) -> None:
    results = [seed_result(0), seed_result(1)]
    change(results[1])
    folders = write_runs(tmp_path / "runs", results)
    out = tmp_path / "out"
    assert main([*map(str, folders), "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert words in said.err and len(said.err.splitlines()) == 1 and said.out == ""
    assert not out.exists() and not list(tmp_path.glob(".*"))


def test_device_and_seed_may_differ(tmp_path: Path) -> None:
    results = [seed_result(i) for i in range(3)]
    as_dict(results[1]["config"])["device"] = "cuda"
    assert len(read_runs(write_runs(tmp_path, results))) == 3


def test_a_student_counts_once(tmp_path: Path) -> None:
    folders = write_runs(tmp_path, [seed_result(0), seed_result(0)])
    with pytest.raises(ResultError, match="about the same student"):
        read_runs(folders)


def test_a_shared_teacher_is_said(tmp_path: Path) -> None:
    results = [seed_result(i) for i in range(3)]
    for result in results:
        as_dict(result["models"])["teacher"]["digest"] = "one"
    folders = write_runs(tmp_path, results)
    shared = [line for line in as_lines(summarize(read_runs(folders))) if "share one model" in line]
    assert len(shared) == 1 and "as the teacher," in shared[0]


def as_lines(stored: Json) -> list[str]:
    lines = stored["differs"]
    assert isinstance(lines, list)
    return lines


def test_data_without_quads_are_refused(tmp_path: Path) -> None:
    result = seed_result(0)
    as_dict(result["models"])["student"]["groups"] = {}
    with pytest.raises(ResultError, match="hold no quads"):
        read_runs(write_runs(tmp_path, [result]))


def test_the_command_writes_both_files_and_a_table(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = [*map(str, runs), "--out", str(out)]
    assert main(given) == 0
    printed = capsys.readouterr().out
    written = {path.name for path in out.iterdir()}
    assert written == {"summary.json", "summary.html", "plotly.min.js"}
    assert "recipe over 4 seeds: erosion" in printed
    assert "A verdict about two checkpoints asks whether these weights differ" in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 100
    assert main(given) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*given, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "summary.json").read_text())


def test_two_seeds_are_pooled_and_undecided(runs: list[Path]) -> None:
    verdict = as_dict(summarize(read_runs(runs[:2]))["verdict"])
    assert verdict["status"] == "undecided"
    assert verdict["sentences"][0].startswith("Undecided: 2 of the 3 seeds")
    single = as_dict(as_dict(summarize(read_runs(runs[:1]))["claims"])["C1"])["loss"]["mean"]
    assert single["low"] is None and single["value"] == LOSSES[0]


def test_the_page_escapes_and_asks_no_network(tmp_path: Path) -> None:
    folders = write_runs(tmp_path / "<b>runs", [seed_result(i) for i in range(3)])
    drawn = render_recipe(summarize(read_runs(folders)))
    assert "<b>runs" not in drawn and "&lt;b&gt;runs" in drawn
    assert "recipe over 3 seeds" in drawn and "http" not in drawn


def test_help_answers_without_torch() -> None:
    code = (
        "import sys\n"
        "from circuits.summarize import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as leaving: assert leaving.code == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'plotly'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
