"""Several students: one folder, a page each, and a page that ranks them."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from comparing import TWO_WAY, enter_copy, write_quads
from modelmaking import make_bert
from results import made_up_result, number

from behavior.estimates import Estimate
from circuits.compare import Comparison, components, heatmaps, pipeline, roles
from circuits.compare.__main__ import main
from circuits.compare.options import read_options
from circuits.compare.several.overview import render, write_overview
from circuits.compare.several.ranking import (
    Contestant,
    rank_students,
    ranked,
    student_answers,
)
from circuits.compare.several.running import folder_names
from circuits.compare.storage import Json

QUICK = (
    *("--examples", "quads.jsonl", "--discovery", "none", "--probe-quads", "0"),
    *("--no-interventions", "--no-figures", "--no-check"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    for name, seed in (("one", 2), ("two", 3)):
        make_bert(home / name, n_layers=1, seed=seed, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", 12)
    return home


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(heatmaps, "_write_pictures", lambda *_: ())
    return enter_copy(models, tmp_path, monkeypatch)


def stored(path: str) -> Json:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def without_provenance(path: str) -> Json:
    result = stored(path)
    del result["provenance"]
    return result


def test_each_student_has_what_it_has_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patched: list[str] = []
    patch = components.patch_nodes

    def counted(model, *given, **options):  # type: ignore[no-untyped-def]
        patched.append(model.name)
        return patch(model, *given, **options)

    opened: list[str] = []
    load = roles.load_checkpoint

    def loaded(reference, **options):  # type: ignore[no-untyped-def]
        opened.append(reference)
        return load(reference, **options)

    monkeypatch.setattr(components, "patch_nodes", counted)
    monkeypatch.setattr(roles, "load_checkpoint", loaded)
    assert main(["big", "one", "two", "big", *QUICK, "--out", "all", "--json"]) == 0
    assert sorted(opened) == ["big", "one", "two"], "each once, the teacher for all students"
    said = json.loads(capsys.readouterr().out)
    assert patched.count("big") == 2, "a contrast each, once for all students"
    assert patched.count("one") == patched.count("two") == 2
    assert main(["big", "two", *QUICK, "--out", "alone", "--quiet"]) == 0
    assert without_provenance("all/two/result.json") == without_provenance("alone/result.json")
    arrays = Path("all/two/arrays.safetensors").read_bytes()
    assert arrays == Path("alone/arrays.safetensors").read_bytes()

    assert {path.name for path in Path("all").iterdir()} == {
        *("index.html", "overview.json", "overview.csv", "one", "two", "big"),
    }
    names = {path.name for path in Path("all/one").iterdir()}
    assert names == {path.name for path in Path("alone").iterdir()}
    assert not list(here.glob(".*")), "something was left behind"

    overview = stored("all/overview.json")
    students = overview["students"]
    assert isinstance(students, list)
    losses = [row["loss"]["value"] for row in students]
    assert losses == sorted(losses)
    assert [row["rank"] for row in students] == [1, 2, 3]
    assert all(f'href="{row["folder"]}/report.html"' in page("all") for row in students)
    assert said["folder"] == "all" and said["students"] == students
    own = next(row for row in students if row["folder"] == "big")
    assert own["loss"]["value"] == own["auc4_change"]["value"] == 0.0

    # The paired difference to the best is the difference of the losses.
    best, *others = students
    assert best["behind_best"]["value"] is None
    for row in others:
        behind = row["behind_best"]
        assert math.isclose(
            behind["value"], row["loss"]["value"] - best["loss"]["value"], abs_tol=1e-6
        )
        assert behind["low"] <= behind["value"] <= behind["high"]
    with Path("all/overview.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["loss"]) for row in rows] == losses
    assert [row["folder"] for row in rows] == [row["folder"] for row in students]


def page(folder: str) -> str:
    return Path(folder, "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("students", "words"),
    [
        (("one", "nobody"), "'nobody' is neither a name, a local folder nor a hub id"),
        (("one", "broken"), "broken"),
        (("one", "two", "one"), "The student 'one' is given twice"),
    ],
)
def test_one_student_that_cannot_be_used_stops_all(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    students: tuple[str, ...],
    words: str,
) -> None:
    Path("broken").mkdir()
    asked: list[str] = []
    monkeypatch.setattr(pipeline, "run_comparison", lambda *_, **__: asked.append("run"))
    before = set(here.rglob("*"))
    assert main(["big", *students, *QUICK, "--out", "all"]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.splitlines()) == 1 and said.out == ""
    assert asked == [], "nothing may run before all can be used"
    assert set(here.rglob("*")) == before


def test_a_single_comparison_is_not_replaced_by_several(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    Path("out/result.json").write_text("{}")
    assert main(["big", "one", "two", *QUICK, "--out", "out", "--overwrite"]) == 2
    assert "holds other things than a comparison of several students" in capsys.readouterr().err
    assert Path("out/result.json").read_text() == "{}"


def test_dry_run_counts_every_student(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["big", "one", "two", *QUICK, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "Student one:" in said and "Student two:" in said


def test_one_student_is_what_it_was() -> None:
    options = read_options(["teacher", "student"])
    assert options.configs == (options.config,)
    assert options.config.student == "student"
    assert options.folder == Path("runs/teacher-student")


def test_several_students_differ_in_the_student_alone() -> None:
    options = read_options(["teacher", "a", "b", "--seed", "3"])
    assert [config.student for config in options.configs] == ["a", "b"]
    assert {config.teacher for config in options.configs} == {"teacher"}
    assert {config.seed for config in options.configs} == {3}
    assert options.folder == Path("runs/teacher-2-students")


def test_folders_have_different_names() -> None:
    assert folder_names(["a", "org/b@main"]) == ("a", "b")
    assert folder_names(["x/seed-1", "y/seed-1"]) == ("x-seed-1", "y-seed-1")
    assert folder_names(["a/x/s", "b/x/s", "index.html"]) == ("x-s", "x-s-2", "index.html-2")
    assert folder_names(["s", "S"]) == ("s", "S-2")


def made_up(folder: str, loss: float | None, **verdict: str) -> Contestant:
    result = made_up_result()
    losses, stored_verdict = result["losses"], result["verdict"]
    assert isinstance(losses, dict) and isinstance(stored_verdict, dict)
    losses["mean"] = {"value": None, "reason": "no", "n": 0} if loss is None else number(loss)
    stored_verdict.update(verdict)
    return Contestant(folder, result, None, Estimate.null("not ranked"))


def test_students_without_a_loss_come_last_and_have_no_rank() -> None:
    overview = ranked([made_up("none", None), made_up("b", 0.4), made_up("a", 0.1)])
    assert [each.folder for each in overview.students] == ["a", "b", "none"]
    assert [row["rank"] for row in overview.rows()] == [1, 2, None]


def test_table_and_figure_have_the_order_and_the_numbers_of_the_ranking() -> None:
    overview = ranked([made_up("b", 0.4), made_up("a", 0.1), made_up("none", None)])
    table = overview.to_dataframe()
    assert list(table["folder"]) == ["a", "b", "none"]
    row = overview.rows()[1]["loss"]
    assert isinstance(row, dict)
    assert [table[f"loss{part}"][1] for part in ("", "_low", "_high", "_n")] == [
        row[part] for part in ("value", "low", "high", "n")
    ]
    figure = overview.figure()
    mean = figure.data[2]
    assert list(figure.layout.yaxis.ticktext) == ["a", "b", "none"]
    assert list(mean.x) == [0.1, 0.4, None]


def test_students_of_different_quads_are_ranked_and_not_compared() -> None:
    def comparison(loss: float) -> Comparison:
        result = made_up("x", loss).result
        return Comparison({**result, "models": {"student": {"groups": {}}}}, {})

    overview = rank_students({"worse": comparison(0.4), "better": comparison(0.1)})
    assert [each.folder for each in overview.students] == ["better", "worse"]
    assert overview.students[1].behind.reason == "the data hold no quads"


def test_a_comparison_is_one_short_line_where_a_notebook_keeps_its_text() -> None:
    said = repr(Comparison(made_up_result(), {}))
    assert said.startswith("<comparison of ") and "erosion" in said and len(said) < 100


def test_the_overview_escapes_and_needs_no_network() -> None:
    bad = "<script>alert(1)</script>"
    drawn = render(
        ranked([made_up("a", 0.1, status=bad, location=bad), made_up("b&c", 0.4, status="erosion")])
    )
    assert "<script>alert" not in drawn
    assert "&lt;script&gt;alert(1)" in drawn
    assert 'href="b%26c/report.html"' in drawn
    assert "http" not in drawn.replace("https://doi.org", "")
    assert "prefers-color-scheme: dark" in drawn


def test_without_quads_there_are_no_answers_to_rank_by() -> None:
    comparison = Comparison({"models": {"student": {"groups": {}}}}, {"other": np.zeros(1)})
    assert student_answers(comparison) is None


@NEEDS_BROWSER[0]
@NEEDS_BROWSER[1]
def test_the_overview_fits_a_phone_in_the_dark(tmp_path: Path) -> None:
    students = [made_up("student-with-a-rather-long-name", 0.1), made_up("other", 0.4)]
    write_overview(tmp_path, ranked(students))
    with opened_browser() as browser:
        visit = Visit(browser, tmp_path / "index.html", 360, "dark")
        fits = "document.documentElement.scrollWidth <= window.innerWidth"
        ink = "getComputedStyle(document.body).color"
        assert visit.page.evaluate(fits)
        dark = visit.page.evaluate(ink)
        visit.page.click("#theme")
        assert visit.page.evaluate(ink) != dark
        assert visit.complaints == []
        assert [Path(url).name for url in visit.requests] == ["index.html"]
