"""The bundled checkpoints: the recipes beside them made them, and by the stated rule."""

import json
from pathlib import Path
from typing import Any

import pytest

from distillation.evidence_tables import median_seed, read_runs
from distillation.folders import read_record, weights_digest
from distillation.recipe_files import load_recipe
from distillation.train import train

ROOT = Path(__file__).parents[1]
ROLES = ("teacher", "student", "teacher-plain", "student-plain", "student-debiased")
RETRAINED = ("teacher", "student")
"""Between them they draw, weigh, fit a bias model, ask a teacher and train; the rest is alike."""
CHECKED_STEPS = 50


class Stop(Exception):
    """Ends a training early without changing its schedule."""


def record(role: str) -> dict[str, Any]:
    return dict(read_record(ROOT / "checkpoints" / role))


@pytest.mark.parametrize("role", ROLES)
def test_stored_recipe_is_the_recipe_file(role: str) -> None:
    recipe = load_recipe(ROOT / "recipes" / f"{role}.yaml")
    assert json.loads(json.dumps(recipe.to_json())) == record(role)["recipe"]


@pytest.mark.parametrize("role", ROLES)
def test_weights_are_those_of_the_record_and_small(role: str) -> None:
    folder = ROOT / "checkpoints" / role
    assert weights_digest(folder) == record(role)["digest"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000


def test_student_was_taught_by_the_bundled_teacher() -> None:
    assert record("student")["parents"] == {"teacher": record("teacher")["digest"]}


def test_all_roles_have_the_seed_of_median_erosion() -> None:
    runs = read_runs(ROOT / "docs" / "evidence" / "runs.csv")
    assert {record(role)["seed"] for role in ROLES} == {median_seed(runs)}


@pytest.mark.parametrize("role", RETRAINED)
def test_the_recipe_starts_on_the_stored_loss_curve(role: str, tmp_path: Path) -> None:
    made = record(role)
    losses: list[float] = []

    def watch(step: int, n_steps: int, loss: float, seconds: float) -> None:
        assert n_steps == made["recipe"]["optimization"]["steps"]
        losses.append(loss)
        if step >= CHECKED_STEPS:
            raise Stop

    with pytest.raises(Stop):
        train(
            load_recipe(ROOT / "recipes" / f"{role}.yaml"),
            made["seed"],
            tmp_path / role,
            parents={name: ROOT / "checkpoints" / name for name in made["parents"]},
            progress=watch,
        )
    stored = [entry["loss"] for entry in made["loss_history"] if entry["step"] <= CHECKED_STEPS]
    assert losses == pytest.approx(stored, rel=1e-3)
