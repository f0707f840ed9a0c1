"""Grids: the graph of runs, what a failure stops, processes that are killed, and a Ray cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors.torch import load_file

from behavior.errors import RecipeError, ResultError
from distillation.folders import read_record, run_folder
from distillation.grid import GridRun, Schedule, load_grid, plan_runs, train_grid
from distillation.grid.__main__ import main
from distillation.grid.jobs import Job, Outcome, Progress, Tick, work
from distillation.grid.local import InProcess, LocalWorkers
from distillation.grid.states import RunState, read_states, states_file, write_states
from distillation.grid.table import count_states, duration, table_lines, time_left
from distillation.options import RunOptions
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
GRIDS = sorted((RECIPES / "grids").glob("*.yaml"))
TINY = {
    "data.n": 200,
    "model.d_model": 16,
    "model.n_heads": 2,
    "optimization.steps": 4,
    "optimization.batch_size": 8,
}
SETTINGS = [f"{key}={value}" for key, value in TINY.items()]


def tiny(name: str, *settings: str) -> Recipe:
    return load_recipe(RECIPES / f"{name}.yaml", [*SETTINGS, *settings])


def write_grid(folder: Path, **settings: object) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({"folder": str(RECIPES), "set": TINY, **settings}))
    return path


class Recorder:
    """Workers that train nothing: they tell in which order runs come, and fail some of them."""

    def __init__(self, n_jobs: int = 1, failing: tuple[str, ...] = ()) -> None:
        self.n_jobs = n_jobs
        self.failing = failing
        self.running: list[Job] = []
        self.rounds: list[list[str]] = []

    def start(self, job: Job) -> None:
        self.running.append(job)

    def wait(self, seconds: float, tick: Tick) -> list[Outcome]:
        self.rounds.append([str(job.run) for job in self.running])
        jobs, self.running = self.running, []
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        if job.run.recipe.name in self.failing:
            return Outcome(job.run.key, 1.0, "it was told to fail")
        folder = job.out
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        return Outcome(job.run.key, 1.0)

    def close(self) -> None:
        self.running.clear()


def test_a_student_waits_for_its_teacher_and_all_that_can_run_runs(tmp_path: Path) -> None:
    names = ("teacher", "student-plain", "assistant", "student", "student-via-assistant")
    workers = Recorder(n_jobs=3)
    states = Schedule(plan_runs([tiny(name) for name in names], [0]), tmp_path, workers).run()
    assert workers.rounds == [
        ["teacher, seed 0", "student-plain, seed 0"],
        ["assistant, seed 0", "student, seed 0"],
        ["student-via-assistant, seed 0"],
    ]
    assert all(state.state == "done" for state in states.values())


def test_a_failed_run_stops_only_what_needs_it(tmp_path: Path) -> None:
    names = ("teacher", "student-plain", "assistant", "student", "student-via-assistant")
    workers = Recorder(failing=("assistant",))
    path = states_file(tmp_path, "grid")
    plan = plan_runs([tiny(name) for name in names], [0])
    states = Schedule(plan, tmp_path, workers, states_path=path).run()
    told = {recipe: (state.state, state.reason) for (recipe, _), state in states.items()}
    assert told["assistant"] == ("failed", "it was told to fail")
    assert told["student-via-assistant"] == ("not run", "needs assistant, seed 0, which failed")
    assert told["student"][0] == told["student-plain"][0] == "done"
    assert read_states(path) == list(states.values())


def test_states_of_runs_that_were_asked_for_earlier_are_kept(tmp_path: Path) -> None:
    path = states_file(tmp_path, "grid")
    write_states(path, [RunState("a", 0, "failed", "why"), RunState("b", 0)])
    write_states(path, [RunState("b", 0, "done")])
    assert {state.recipe: state.state for state in read_states(path)} == {
        "a": "failed",
        "b": "done",
    }
    path.write_text("{")
    with pytest.raises(ResultError, match="cannot be read as the states"):
        read_states(path)


def test_methods_and_roles_are_multiplied_and_parents_are_added_once(tmp_path: Path) -> None:
    block = {
        "recipes": ["{role}-plain"],
        "for": {"role": ["teacher", "student"]},
    }
    path = write_grid(tmp_path, seeds="3-4", runs=[block, {"recipes": ["student", "assistant"]}])
    names = [run.recipe.name for run in load_grid(path) if run.seed == 3]
    assert sorted(names) == ["assistant", "student", "student-plain", "teacher", "teacher-plain"]
    assert names.index("teacher") < names.index("student")
    assert {run.seed for run in load_grid(path)} == {3, 4}
    assert {run.seed for run in load_grid(path, seeds=[9])} == {9}
    assert load_grid(path)[0].recipe.optimization.steps == 4


def test_variants_have_their_own_names_and_unchanged_ones_that_of_the_recipe(
    tmp_path: Path,
) -> None:
    variants = {
        "temperature": {"t2": {}, "t4": {"objective.temperature": 4}},
        "width": {"w48": {}, "w32": {"model.d_model": 32}},
    }
    path = write_grid(tmp_path, runs=[{"recipes": ["student"], "variants": variants}])
    found = {run.recipe.name: run.recipe for run in load_grid(path)}
    assert set(found) == {"teacher", "student", "student+t4", "student+w32", "student+t4+w32"}
    both = found["student+t4+w32"].to_json()
    assert both["model"]["d_model"] == 32 and both["objective"]["temperature"] == 4
    assert found["student+w32"].teacher == "teacher"


def test_a_rule_of_selection_for_a_whole_grid_leaves_closed_forms_as_they_are(
    tmp_path: Path,
) -> None:
    ruled = {"selection.rule": "worst-group"}
    blocks = [{"recipes": ["teacher-dfr", "teacher-plain"]}]
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump({"folder": str(RECIPES), "set": ruled, "runs": blocks}))
    found = {run.recipe.name: run.recipe for run in load_grid(path)}
    assert found["teacher-dfr"] == load_recipe(RECIPES / "teacher-dfr.yaml")
    assert "selection" not in found["teacher-dfr"].to_json()
    assert found["teacher-plain"].selection.rule == "worst-group"


def test_a_variant_may_be_taught_by_another_variant(tmp_path: Path) -> None:
    wide = {"recipes": ["teacher"], "variants": {"width": {"w32": {"model.d_model": 32}}}}
    taught = {"recipes": ["student"], "variants": {"by": {"w32": {"teacher": "teacher+w32"}}}}
    runs = load_grid(write_grid(tmp_path, runs=[taught, wide]))
    assert [run.recipe.name for run in runs] == ["teacher+w32", "student+w32"]
    assert runs[1].parents == (("teacher+w32", 0),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "runs must be a list"),
        ({"runs": [{"recipes": ["nobody"]}]}, "no recipe fits 'nobody'"),
        ({"runs": [{"recipes": ["{x}"]}]}, "`for` gives nothing"),
        ({"runs": [{"recipe": ["student"]}]}, "runs, entry 1: recipe is unknown"),
        ({"runs": [{"recipes": ["student"], "seeds": "x"}]}, "Cannot read 'x' as seeds"),
        ({"runs": [{"recipes": [1]}]}, "recipes must be a list of names"),
        ({"runs": [{"recipes": ["student"], "variants": {"t": 3}}]}, "variants.t must hold"),
        ({"runs": ["student"]}, "must hold keys with values, got 'student'"),
        ({"colour": 1, "runs": []}, "colour is unknown"),
        (
            {"runs": [{"recipes": ["student"], "variants": {"t": {"a": {"model.depth": 3}}}}]},
            "model.depth is unknown",
        ),
    ],
)
def test_a_broken_grid_is_one_line_that_names_file_and_place(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_grid(write_grid(tmp_path, **settings))
    text = str(caught.value)
    assert message in text and ".yaml: " in text and "\n" not in text


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_bundled_grid_can_be_planned(path: Path) -> None:
    runs = load_grid(path)
    place = {run.key: i for i, run in enumerate(runs)}
    assert len(place) == len(runs)
    assert all(place[parent] < place[run.key] for run in runs for parent in run.parents)


def test_the_table_tells_what_runs_what_failed_and_how_long_it_takes() -> None:
    states = {
        ("a", 1): RunState("a", 1, "done", seconds=50.0),
        ("b", 1): RunState("b", 1, "running"),
        ("c", 1): RunState("c", 1, "failed", "the disk is full"),
        ("d", 1): RunState("d", 1),
    }
    progress = {("b", 1): Progress(50, 100, 0.25, 30.0)}
    left = time_left(dict.fromkeys(states, 100), states, progress, elapsed=75.0)
    # 150 updates in 75 s; 50 of b and 100 of d are left.
    assert left == pytest.approx(75.0)
    lines = table_lines(states, progress, 75.0, left)
    assert lines[0] == "4 runs: 1 done, 1 running, 1 waiting, 1 failed   1 min, 1 min left"
    assert "step    50 of 100   loss 0.250   30 s" in lines[1]
    assert "failed: the disk is full" in lines[2] and len(lines) == 3
    assert count_states([]) == "0 runs: " and duration(4800.0) == "1 h 20 min"
    assert time_left({("d", 1): 100}, {("d", 1): states["d", 1]}, {}, 5.0) is None


def test_what_goes_wrong_in_a_run_is_its_outcome(tmp_path: Path) -> None:
    job = Job(GridRun(tiny("student"), 0), tmp_path, RunOptions(), 250)
    outcome = work(job)
    assert outcome.reason is not None and "needs a trained 'teacher'" in outcome.reason
    with pytest.raises(ResultError, match="student, seed 0: Recipe 'student' needs a trained"):
        train_grid([tiny("student")], [0], tmp_path)


def test_the_command_trains_a_grid_reports_a_failure_and_skips_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    broken = {"rho": {"mad": {"data.options.rho": 7.0}}}
    blocks = [
        {"recipes": ["student-plain"]},
        {"recipes": ["teacher"], "variants": broken},
        {"recipes": ["student"], "variants": {"by": {"mad": {"teacher": "teacher+mad"}}}},
    ]
    command = [str(write_grid(tmp_path, runs=blocks)), "--runs", str(runs), "--save-steps", "2"]
    assert main([*command, "--dry-run"]) == 0
    assert "student+mad, seed 0, after teacher+mad" in capsys.readouterr().out
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "3 runs: 1 done, 1 failed, 1 not run" in said
    assert "student+mad, seed 0: not run: needs teacher+mad, seed 0, which failed" in said
    assert read_record(runs / "student-plain" / "seed-0")["seed"] == 0
    assert main([*command, "--recipes", "student-plain"]) == 0
    assert "[1/1] student-plain, seed 0: already finished" in capsys.readouterr().out
    states = {x.recipe: x.state for x in read_states(states_file(runs, "grid"))}
    assert states["teacher+mad"] == "failed" and states["student-plain"] == "already finished"


def test_a_folder_of_recipes_is_a_grid_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(RECIPES), "--recipes", "student,student-plain", "--seeds", "1-2", "--dry-run"]
    assert main([*command, "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "6 runs" and "student, seed 2, after teacher" in lines
    assert main([*command, "--workers", "0"]) == 2
    assert "workers is 0" in capsys.readouterr().err


def wait_for(happened: Iterator[bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not next(happened):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def has_checkpoint(runs: Path, recipe: str) -> bool:
    checkpoints = run_folder(runs, recipe, 0).with_name("seed-0.partial") / "checkpoints"
    return any(checkpoints.glob("checkpoint-*/trainer_state.json"))


def test_a_run_whose_process_is_killed_goes_on_in_another_one(tmp_path: Path) -> None:
    recipe = tiny("student-plain", "optimization.steps=120")
    whole = train_grid([recipe], [0], tmp_path / "whole")[0]
    workers = LocalWorkers(2)
    job = Job(GridRun(recipe, 0), tmp_path / "killed", RunOptions(), save_steps=20)
    try:
        workers.start(job)
        wait_for(iter(lambda: has_checkpoint(job.runs, "student-plain"), None))
        killed = workers.process_ids
        os.kill(killed[0], signal.SIGKILL)
        outcomes: list[Outcome] = []
        end = time.monotonic() + 120
        while not outcomes and time.monotonic() < end:
            outcomes = workers.wait(1.0, lambda: None)
        assert [outcome.reason for outcome in outcomes] == [None]
    finally:
        workers.close()
    one, other = (load_file(x / "model.safetensors") for x in (whole, job.out))
    assert all(one[name].equal(other[name]) for name in one)


def test_in_process_workers_tell_how_far_they_are(tmp_path: Path) -> None:
    ticks: list[int] = []
    workers = InProcess()
    recipe = tiny("student-plain", "optimization.steps=50")
    workers.start(Job(GridRun(recipe, 0), tmp_path, RunOptions(), 250))
    outcomes = workers.wait(0.0, lambda: ticks.append(1))
    assert [outcome.reason for outcome in outcomes] == [None] and ticks == [1]


def test_a_grid_on_a_ray_cluster_is_whole_although_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    steps = {"steps": {"many": {"optimization.steps": 300}}}
    blocks = [{"recipes": ["teacher", "student-plain"], "variants": steps}]
    taught = {"by": {"many": {"teacher": "teacher+many"}}}
    blocks.append({"recipes": ["student"], "variants": taught})
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "distillation.grid", str(write_grid(tmp_path, runs=blocks))]
    command += ["--runs", str(runs), "--workers", "2", "--ray", "local", "--save-steps", "40"]
    quiet = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(command, env=quiet, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_for(iter(lambda: has_checkpoint(runs, "teacher+many"), None))
            busy = [
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if child.name().startswith("ray::work")
            ]
            assert len(busy) == 2, "two workers train at the same time"
            for child in busy:
                child.kill()
            said, _ = process.communicate(timeout=240)
        finally:
            process.terminate()
    assert process.returncode == 0, said
    assert "3 runs: 3 done" in said
    teacher, student = (run_folder(runs, f"{x}+many", 0) for x in ("teacher", "student"))
    digest = json.loads((teacher / "training.json").read_text())["digest"]
    assert json.loads((student / "training.json").read_text())["parents"] == {
        "teacher+many": digest
    }
    assert not list(runs.glob("*/*.partial"))
