"""Two trainings of one run: the second one is refused, and a dead one is in nobody's way."""

from pathlib import Path

import pytest

from behavior.errors import ResultError
from distillation.folders import held, run_folder
from distillation.grid import train_grid
from distillation.grid.__main__ import main as grid
from distillation.recipe import Recipe
from distillation.recipe_files import load_recipe
from distillation.train import main

RECIPE = Path(__file__).parents[1] / "recipes" / "student-plain.yaml"
TINY = [
    "data.n=200",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=2",
    "optimization.batch_size=8",
]
SETTINGS = [part for setting in TINY for part in ("--set", setting)]


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe(RECIPE, TINY)


def test_a_run_that_another_process_trains_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "student-plain" / "seed-0"
    with held(out):
        assert main([str(RECIPE), *SETTINGS, "--out", str(out)]) == 2
        said = capsys.readouterr().err
    assert f"{out} is being written by another run (process " in said and said.count("\n") == 1
    assert list(out.parent.iterdir()) == []


def test_a_grid_reports_it_and_trains_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(RECIPE.parent), "--recipes", "student-plain", "--runs", str(tmp_path)]
    with held(run_folder(tmp_path, "student-plain", 0)):
        assert grid([*command, *SETTINGS, "--seeds", "0-1"]) == 1
    said = capsys.readouterr().out
    assert "student-plain, seed 0: failed: " in said and "is being written by another run" in said
    assert run_folder(tmp_path, "student-plain", 1).is_dir()
    assert grid([*command, *SETTINGS, "--seeds", "0-1"]) == 0


def test_the_lock_goes_with_the_training_and_one_of_a_lost_machine_is_taken_over(
    tmp_path: Path, recipe: Recipe
) -> None:
    out = run_folder(tmp_path, recipe.name, 0)
    out.parent.mkdir()
    lock = out.parent / ".seed-0.lock"
    lock.write_text('{"pid": 7, "host": "elsewhere"}')
    assert train_grid([recipe], [0], tmp_path) == [out]
    assert [path.name for path in out.parent.iterdir()] == ["seed-0"]


def test_a_finished_run_needs_no_lock(tmp_path: Path, recipe: Recipe) -> None:
    (out,) = train_grid([recipe], [0], tmp_path)
    with held(out):
        assert train_grid([recipe], [0], tmp_path) == [out]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "student").write_text("a file")
    out = tmp_path / "student" / "seed-0"
    with pytest.raises(ResultError, match=f"Cannot write {out}: .*Choose another --out"), held(out):
        pass
