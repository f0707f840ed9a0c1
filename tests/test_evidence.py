"""Evidence over seeds: tables worked out by hand, and a round from folders to files."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from behavior.errors import ResultError
from behavior.tasks import load_task
from distillation.evidence import (
    HeldOutData,
    finished_folders,
    gather,
    measure_run,
    outside,
)
from distillation.evidence.__main__ import main
from distillation.evidence.choice import Choice
from distillation.evidence.claims import agreements, claim_differences, type_accuracies
from distillation.evidence.figures import evidence_figures
from distillation.evidence.measured import CLAIM_MEASURES, Measured
from distillation.evidence.page import render_markdown
from distillation.evidence.roles import ROLES, families, median_seed, with_retention
from distillation.evidence.sheets import make_sheets, render_sheets_markdown, write_sheets
from distillation.evidence.states import RunStatus, run_states
from distillation.evidence.tables import (
    MEASURES,
    Run,
    intervals,
    paired_difference,
    read_intervals,
    write_intervals,
)
from distillation.evidence.trios import Trio, find_trios, retention_anchors
from distillation.grid import train_grid
from distillation.grid.states import RunState, states_file, write_states
from distillation.recipe_files import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = [
    "data.n=200",
    "model.d_model=16",
    "model.n_heads=2",
    "optimization.steps=2",
    "optimization.batch_size=8",
]


def run(recipe: str, seed: int, share: float | None, **values: float) -> Run:
    filled = dict.fromkeys(MEASURES, 0.5) | {"spurious_share": share} | values
    return Run(recipe, seed, f"digest-{recipe}-{seed}", 1.0, filled)


def whole_seed(seed: int, student: float, teacher: float = 0.0) -> list[Run]:
    shares = {"student": student, "teacher": teacher, "teacher-plain": 0.8}
    return [run(role, seed, shares.get(role, 0.5)) for role in ROLES]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    recipe = load_recipe(RECIPES / "student-plain.yaml", TINY)
    train_grid([recipe], [0, 1], folder)
    return folder


def test_intervals_over_three_seeds_are_students() -> None:
    runs = [run("student", seed, share) for seed, share in enumerate((0.2, 0.4, 0.6))]
    share = next(x for x in intervals(runs) if x.measure == "spurious_share")
    half = 4.3026527 * 0.2 / 3**0.5
    assert share.mean.value == pytest.approx(0.4) and share.mean.n == 3
    assert share.mean.low == pytest.approx(0.4 - half)
    assert share.further.high == pytest.approx(0.4 + half * 2)


def test_differences_are_taken_within_seeds() -> None:
    runs = [run("student", 1, 0.9), run("student", 2, 0.7), run("student", 3, 0.1)]
    runs += [run("teacher", 1, 0.3), run("teacher", 2, 0.1)]
    difference = paired_difference(runs, "student", "teacher", "spurious_share")
    assert difference.n == 2 and difference.value == pytest.approx(0.6)
    assert difference.low == pytest.approx(0.6) and difference.high == pytest.approx(0.6)


def test_retention_is_one_for_the_teacher_and_zero_for_the_plain_teacher() -> None:
    kept = {r.recipe: r.values["retention"] for r in with_retention(whole_seed(0, student=0.2))}
    assert kept["teacher"] == 1.0 and kept["teacher-plain"] == 0.0
    assert kept["student"] == pytest.approx(0.75)
    undone = with_retention(whole_seed(0, student=0.2, teacher=0.9))
    assert all(r.values["retention"] is None for r in undone)
    assert with_retention([run("student", 0, 0.2)])[0].values["retention"] is None


def test_the_bundled_seed_is_that_of_the_median_erosion() -> None:
    shares = {4: 0.9, 5: 0.1, 6: 0.5}
    runs = [r for seed, share in shares.items() for r in whole_seed(seed, student=share)]
    assert median_seed(runs) == 6
    assert median_seed([*runs, *whole_seed(7, student=0.6)]) == 6
    assert median_seed([*runs, run("student", 8, 0.55)]) == 6
    assert median_seed([run("student", 8, 0.55)]) is None


def test_families_are_told_apart_by_their_teachers() -> None:
    names = ["vit-student", "vit-teacher", "vit-student-wide", "student-wide", "student", "teacher"]
    assert families(names) == {
        "": ["teacher", "student", "student-wide"],
        "vit-": ["vit-teacher", "vit-student", "vit-student-wide"],
    }
    assert families(["vit-student"]) == {"": ["vit-student"]}


def test_each_family_is_compared_with_its_own_teacher() -> None:
    one = whole_seed(3, student=0.6) + whole_seed(4, student=0.2) + whole_seed(5, student=0.1)
    other = [replace(r, recipe=f"vit-{r.recipe}") for r in whole_seed(5, student=0.7, teacher=0.6)]
    runs = with_retention([*one, *other])
    kept = {(r.recipe, r.seed): r.values["retention"] for r in runs}
    assert kept["student", 3] == pytest.approx(0.25)
    assert kept["vit-student", 5] == pytest.approx(0.5)
    assert median_seed(runs) == 4 and median_seed(runs, "vit-") == 5
    page = render_markdown(runs, intervals(runs))
    assert page.index("`student` of the same seed") < page.index("`vit-teacher` of the same seed")
    assert page.count("| vit-student-plain | 1 |") == 3


def test_a_further_run_is_inside_or_outside_what_was_published() -> None:
    published = intervals([run("student", seed, 0.5 + seed / 100) for seed in (0, 1, 2)])
    assert outside(run("student", 9, 0.53), published) == []
    assert outside(run("student", 9, 0.9), published) == ["spurious_share"]
    assert outside(run("student", 9, 0.51, auc=0.505), published) == []
    with pytest.raises(ResultError, match="Nothing was published for recipe 'teacher'"):
        outside(run("teacher", 9, 0.5), published)


def test_intervals_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = intervals([run("student", 0, 0.25), run("student", 1, None), run("teacher", 1, None)])
    write_intervals(tmp_path / "intervals.csv", found)
    again = read_intervals(tmp_path / "intervals.csv")
    assert [(x.recipe, x.measure, x.mean.value) for x in again] == [
        (x.recipe, x.measure, x.mean.value) for x in found
    ]
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResultError, match="holds no intervals"):
        read_intervals(tmp_path / "other.csv")
    with pytest.raises(ResultError, match="cannot be read"):
        read_intervals(tmp_path / "none.csv")


def test_the_tables_show_every_run_and_no_minus_zero() -> None:
    runs = [r for seed in (1, 2) for r in whole_seed(seed, student=0.4, teacher=-1e-9)]
    text = render_markdown(runs, intervals(runs))
    rows = [line for line in text.splitlines() if line.startswith(("| student | ", "| teacher | "))]
    assert sum(line.startswith(("| student | 1 |", "| student | 2 |")) for line in rows) >= 2
    assert "-0.000" not in text and "nan" not in text


def test_the_same_folder_measured_twice_gives_the_same_numbers(runs: Path) -> None:
    data = HeldOutData.draw(load_task("nli-overlap"), n_quads=20)
    one, other = (measure_run(runs / "student-plain" / "seed-0", data) for _ in range(2))
    assert one == other and one.recipe == "student-plain" and one.seed == 0
    assert 0 <= (one.values["accuracy_A"] or 0) <= 1


def test_unfinished_and_foreign_folders_are_left_out(runs: Path, tmp_path: Path) -> None:
    assert [folder.name for folder in finished_folders(runs)] == ["seed-0", "seed-1"]
    (tmp_path / "student" / "seed-0.partial").mkdir(parents=True)
    (tmp_path / "student" / "seed-0.partial" / "training.json").write_text("{}")
    with pytest.raises(ResultError, match="holds no finished training"):
        finished_folders(tmp_path)
    with pytest.raises(ResultError, match="holds no readable"):
        measure_run(tmp_path, HeldOutData.draw(load_task("nli-overlap"), n_quads=20))


def test_seeds_and_recipes_narrow_what_is_gathered(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [folder.name for folder in finished_folders(runs, Choice(seeds=[1, 5]))] == ["seed-1"]
    assert len(finished_folders(runs, Choice(["student-plain"], [0, 1]))) == 2
    with pytest.raises(ResultError, match="none of the recipes and seeds asked for"):
        finished_folders(runs, Choice(["student-plain"], [7]))
    command = [str(runs), "--out", str(tmp_path / "evidence"), "--quads", "20", "--seeds", "1"]
    assert main(command) == 0
    assert "1 runs measured, 0 missing" in capsys.readouterr().out
    assert main([*command[:-1], "one"]) == 2
    assert "Cannot read 'one' as seeds" in capsys.readouterr().err


def test_the_runs_of_a_grid_are_measured_or_missing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"folder: {RECIPES}\nseeds: 1-2\nruns:\n  - recipes: [student-plain]\n")
    out = tmp_path / "evidence"
    assert main([str(runs), "--grid", str(grid), "--out", str(out), "--quads", "20"]) == 0
    assert "1 runs measured, 1 missing" in capsys.readouterr().out
    text = (out / "evidence.md").read_text()
    assert "| student-plain | 2 | not run | nobody has begun it |" in text
    assert "| student-plain | 0 |" not in text


def test_gathering_reports_each_run(runs: Path) -> None:
    lines: list[str] = []
    data = HeldOutData.draw(load_task("nli-overlap"), n_quads=20)
    gathered = gather(finished_folders(runs), data, lines.append)
    assert [r.seed for r in gathered] == [0, 1] and len(lines) == 2


def test_the_command_line_writes_tables_and_checks_a_model_against_them(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "evidence"), "--quads", "20"]
    assert main(["--runs", str(runs), *out]) == 0
    with (tmp_path / "evidence" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert main(["--check", str(runs / "student-plain" / "seed-1"), *out]) == 0
    assert "outside the published intervals: nothing" in capsys.readouterr().out
    assert main(["--runs", str(tmp_path), *out]) == 2
    assert main(["--check", str(tmp_path), *out]) == 2


RECIPE_JSON = {
    name: load_recipe(RECIPES / f"{name}.yaml").to_json()
    for name in (
        *ROLES,
        "assistant",
        "student-via-assistant",
        "student-large",
        "teacher-poe",
        "teacher-short",
        "vit-teacher",
        "vit-student",
    )
}


def test_the_recipes_tell_what_a_student_is_compared_with() -> None:
    trios = {trio.student: trio for trio in find_trios(RECIPE_JSON)}
    assert set(trios) == {
        "assistant",
        "student",
        "student-large",
        "student-via-assistant",
        "vit-student",
    }
    assert trios["student"] == Trio(
        "student", "teacher", "student-debiased", "teacher-plain", "student-plain"
    )
    through = trios["student-via-assistant"]
    assert (through.teacher, through.debiased) == ("teacher", "student-debiased")
    # Of the teacher's size: the teacher itself is no undistilled student of it.
    assert trios["student-large"].claims == {"C1": "teacher", "plain": "teacher-plain"}
    assert trios["vit-student"] == Trio("vit-student", "vit-teacher", None, None)


def test_retention_is_measured_by_the_teacher_that_taught() -> None:
    runs = [run("student-poe", 1, 0.5), run("teacher-poe", 1, 0.2), *whole_seed(1, student=0.4)]
    anchors = retention_anchors([Trio("student-poe", "teacher-poe", None, "teacher-plain")])
    kept = {r.recipe: r.values["retention"] for r in with_retention(runs, anchors)}
    assert kept["student-poe"] == pytest.approx((0.8 - 0.5) / (0.8 - 0.2))
    assert kept["teacher-poe"] == 1.0 and kept["student"] == pytest.approx(0.5)


def made_up(recipe: str, seed: int, right: np.ndarray, share: float) -> Measured:
    """A run that is right where it is told to be, on 40 quads of two types."""
    accuracy = right.mean(0)
    gap = accuracy[[0, 3]].mean() - accuracy[[1, 2]].mean()
    values = {"spurious_share": share, "spurious_gap": float(gap)}
    replicates = {m: np.full(201, values.get(m, 0.5)) for m in CLAIM_MEASURES}
    replicates["spurious_share"] = share + np.linspace(-0.1, 0.1, 201)
    replicates["spurious_share"][0] = share
    types = ("active", "passive") * 20
    filled = run(recipe, seed, share, spurious_gap=float(gap))
    return Measured(
        filled, RECIPE_JSON[recipe], 1000 + seed, right.astype(np.int64), right, types, replicates
    )


def right_but_for(column: int, n_wrong: int) -> np.ndarray:
    right = np.ones((40, 4), dtype=bool)
    right[:n_wrong, column] = False
    return right


@pytest.fixture
def measured() -> list[Measured]:
    return [
        made_up(recipe, seed, right_but_for(1, n_wrong), share + seed / 100)
        for recipe, n_wrong, share in (
            ("teacher", 0, 0.1),
            ("student", 20, 0.5),
            ("student-debiased", 10, 0.2),
        )
        for seed in (0, 1, 2)
    ]


def test_claims_are_differences_within_seeds_with_both_intervals(measured: list[Measured]) -> None:
    found = {(x.claim, x.measure): x for x in claim_differences(measured)}
    c1, c2 = found["C1", "spurious_share"], found["C2", "spurious_share"]
    assert c1.reference == "teacher" and c1.over_seeds.value == pytest.approx(0.4)
    assert c2.reference == "student-debiased" and c2.over_seeds.value == pytest.approx(0.3)
    assert c1.over_seeds.n == 3 and c1.over_examples.n == 40
    # The resamples are shared, so what both models have in common cancels.
    assert c1.over_examples.low == pytest.approx(0.4) == c1.over_examples.high
    assert found["C1", "spurious_gap"].over_seeds.value == pytest.approx(0.25)


def test_types_and_agreement_are_counted_by_hand(measured: list[Measured]) -> None:
    types = {(x.recipe, x.type): x for x in type_accuracies(measured)}
    assert types["student", "active"].n_quads == 20
    assert types["student", "active"].conflicting.value == pytest.approx(0.75)
    assert types["student", "passive"].gap.value == pytest.approx(0.25)
    rates = {x.cell: x.rate.value for x in agreements(measured) if x.student == "student"}
    assert rates == {"A": 1.0, "N": 0.5, "C": 1.0, "L": 1.0}


def test_figures_have_a_point_for_each_seed_and_titles_with_units(measured: list[Measured]) -> None:
    scale, plane, cells = evidence_figures(measured)
    assert [len(trace.x) for trace in plane.data] == [3]
    assert {trace.name for trace in scale.data} == {
        "distilled from teacher",
        "debiased as teacher",
    }
    assert list(cells.data[0].y) == [1.0, 0.5, 1.0, 1.0]
    for figure in (scale, plane, cells):
        assert figure.layout.title.text and figure.layout.xaxis.title.text
    assert evidence_figures(measured[:3]) == []


def test_every_run_of_a_grid_is_in_the_tables_failures_with_their_reason(tmp_path: Path) -> None:
    states = [RunState("student", 1, "failed", "the loss is nan at step 3"), RunState("late", 1)]
    write_states(states_file(tmp_path, "grid"), [*states, RunState("teacher", 1, "done")])
    (tmp_path / "begun" / "seed-4.partial").mkdir(parents=True)
    found = run_states(tmp_path, [("teacher", 1)], {("other", 2): "no such labels"})
    assert [(x.recipe, x.seed, x.state) for x in found] == [
        ("begun", 4, "unfinished"),
        ("late", 1, "unfinished"),
        ("other", 2, "not measured"),
        ("student", 1, "failed"),
        ("teacher", 1, "measured"),
    ]
    assert found[3].reason == "the loss is nan at step 3"
    assert [x.recipe for x in run_states(tmp_path, [], {}, Choice(["begun"]))] == ["begun"]
    assert [x.recipe for x in run_states(tmp_path, [], {}, Choice(seeds=[4]))] == ["begun"]


def test_the_tables_are_written_as_csv_html_and_latex(
    measured: list[Measured], tmp_path: Path
) -> None:
    states = [RunStatus(x.run.recipe, x.run.seed, "measured") for x in measured]
    states.append(RunStatus("student", 9, "failed", "100 % of_the disk & more <full>"))
    runs = with_retention([x.run for x in measured])
    sheets = make_sheets(measured, runs, states)
    write_sheets(tmp_path, sheets, measured)
    with (tmp_path / "C1.csv").open() as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    assert float(rows["spurious_share"]["difference"]) == pytest.approx(0.4)
    assert set(rows["spurious_share"]) >= {"seeds_low", "seeds_high", "examples_low"}
    page = (tmp_path / "evidence.html").read_text()
    assert "&lt;full&gt;" in page and "<full>" not in page and page.count("plotly-graph-div") == 3
    latex = (tmp_path / "evidence.tex").read_text()
    assert r"100 \% of\_the disk \& more <full>" in latex and latex.count(r"\toprule") >= 6
    assert "0.400 [0.400, 0.400] (0.400, 0.400)" in render_sheets_markdown(sheets)


def test_the_command_tells_failures_and_takes_the_folder_without_a_flag(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    failed = [RunState("student", 0, "failed", "it was told to")]
    write_states(states_file(tmp_path / "runs", "grid"), failed)
    out = tmp_path / "evidence"
    assert main([str(tmp_path / "runs"), "--out", str(out), "--quads", "20"]) == 0
    assert "2 runs measured, 1 missing" in capsys.readouterr().out
    text = (out / "evidence.md").read_text()
    assert "| student | 0 | failed | it was told to |" in text
    assert main([str(runs), "--runs", str(runs)]) == 2
    assert "Give one of them" in capsys.readouterr().err
