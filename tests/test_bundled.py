"""The bundled checkpoints: the recipes beside them made them, and by the stated rule."""

import json
from pathlib import Path
from typing import Any

import pytest

from behavior.tasks import load_task
from distillation.evidence import HeldOutData, measure_run, outside
from distillation.evidence.roles import ROLES, median_seed
from distillation.evidence.tables import MEASURES, read_intervals, read_runs
from distillation.folders import read_record, weights_digest
from distillation.recipe_files import load_recipe
from distillation.training import train

ROOT = Path(__file__).parents[1]
EVIDENCE = {
    "": ROOT / "docs" / "evidence",
    "vit-": ROOT / "docs" / "evidence" / "images",
    "resnet-": ROOT / "docs" / "evidence" / "images",
}
"""Tables of each family of recipes."""
NAMES = [family + role for family in EVIDENCE for role in ROLES]
MEASURED = [f"{family}-{role}" for family in ("vit", "resnet") for role in ("teacher", "student")]
RETRAINED = ("teacher", "student")
"""Between them they draw, weigh, fit a bias model, ask a teacher and train; the rest is alike. The
image recipes draw too many items for a test."""
CHECKED_STEPS = 50


class Stop(Exception):
    """Ends a training early without changing its schedule."""


def record(name: str) -> dict[str, Any]:
    return dict(read_record(ROOT / "checkpoints" / name))


@pytest.fixture(scope="module")
def digits() -> HeldOutData:
    return HeldOutData.draw(load_task("digits"))


@pytest.mark.parametrize("name", NAMES)
def test_stored_recipe_is_the_recipe_file(name: str) -> None:
    recipe = load_recipe(ROOT / "recipes" / f"{name}.yaml")
    assert json.loads(json.dumps(recipe.to_json())) == record(name)["recipe"]


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_record_and_small(name: str) -> None:
    folder = ROOT / "checkpoints" / name
    assert weights_digest(folder) == record(name)["digest"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000


@pytest.mark.parametrize("family", EVIDENCE)
def test_student_was_taught_by_the_bundled_teacher(family: str) -> None:
    teacher = f"{family}teacher"
    assert record(f"{family}student")["parents"] == {teacher: record(teacher)["digest"]}


@pytest.mark.parametrize("family", EVIDENCE)
def test_all_roles_have_the_seed_of_median_erosion(family: str) -> None:
    runs = read_runs(EVIDENCE[family] / "runs.csv")
    assert {record(family + role)["seed"] for role in ROLES} == {median_seed(runs, family)}


@pytest.mark.parametrize("family", EVIDENCE)
def test_the_tables_are_about_the_bundled_weights(family: str) -> None:
    runs = {(run.recipe, run.seed): run for run in read_runs(EVIDENCE[family] / "runs.csv")}
    for role in ROLES:
        made = record(family + role)
        assert runs[family + role, made["seed"]].digest == made["digest"]


@pytest.mark.parametrize("name", MEASURED)
def test_an_image_model_does_what_the_tables_say(name: str, digits: HeldOutData) -> None:
    tables = ROOT / "docs" / "evidence" / "images"
    run = measure_run(ROOT / "checkpoints" / name, digits)
    published = {(x.recipe, x.seed): x for x in read_runs(tables / "runs.csv")}[name, run.seed]
    for measure in set(MEASURES) - {"retention"}:
        assert run.values[measure] == pytest.approx(published.values[measure], abs=2e-3), measure
    assert outside(run, read_intervals(tables / "intervals.csv")) == []


@pytest.mark.parametrize("name", RETRAINED)
def test_the_recipe_starts_on_the_stored_loss_curve(name: str, tmp_path: Path) -> None:
    made = record(name)
    losses: list[float] = []

    def watch(step: int, n_steps: int, loss: float, seconds: float) -> None:
        assert n_steps == made["recipe"]["optimization"]["steps"]
        losses.append(loss)
        if step >= CHECKED_STEPS:
            raise Stop

    with pytest.raises(Stop):
        train(
            load_recipe(ROOT / "recipes" / f"{name}.yaml"),
            made["seed"],
            tmp_path / name,
            parents={parent: ROOT / "checkpoints" / parent for parent in made["parents"]},
            progress=watch,
        )
    stored = [entry["loss"] for entry in made["loss_history"] if entry["step"] <= CHECKED_STEPS]
    assert losses == pytest.approx(stored, rel=1e-3)
