"""`python -m probes.compare`: a whole folder or none, no NaN, one line for what can be mended."""

import csv
import json
from pathlib import Path

import pytest
from browsing import NEEDS_BROWSER, Visit, opened_browser
from comparing import TWO_WAY, write_pairs, write_quads
from modelmaking import make_bert

from probes.compare import compare_representations, stage_uses
from probes.compare.command import run_command
from probes.compare.options import read_options

N = 64


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probes")
    make_bert(folder / "big", n_layers=1, d_model=8, seed=1, classes=TWO_WAY)
    make_bert(folder / "small", n_layers=1, d_model=8, seed=2, classes=TWO_WAY)
    write_quads(folder / "quads.jsonl", N)
    arguments = ["--examples", str(folder / "quads.jsonl"), "--twin", str(folder / "big")]
    models = [str(folder / "big"), str(folder / "small")]
    assert run_command([*models, *arguments, "--out", str(folder / "out"), "--quiet"]) == 0
    return folder


def test_the_folder_holds_the_page_the_result_and_the_tables(home: Path) -> None:
    found = {path.name for path in (home / "out").iterdir()}
    tables = ["readability", "selectivity", "lens", "erasure", "similarity", "attention", "overlap"]
    assert found == {
        "probes.html", "plotly.min.js", "result.json", *(f"{name}.csv" for name in tables)
    }  # fmt: skip
    assert {path.name for path in home.iterdir()} == {"big", "small", "quads.jsonl", "out"}


def test_every_number_has_n_and_an_interval_or_a_reason(home: Path) -> None:
    result = json.loads((home / "out" / "result.json").read_text())
    estimates: list[dict[str, object]] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "value" in node:
                estimates.append(node)
            for each in node.values():
                walk(each)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(result)
    assert len(estimates) > 100
    for each in estimates:
        assert "n" in each and ({"low", "high"} <= set(each) or each["reason"])
    assert result["kind"] == "probes" and len(result["quads"]["all"]) == N
    assert result["floor"] and result["use"]


def test_tables_and_result_say_the_same(home: Path) -> None:
    result = json.loads((home / "out" / "result.json").read_text())
    stages = {(row["model"], row["stage"]): row for row in result["stages"]}
    with (home / "out" / "readability.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 * len(stages)
    for row in rows:
        stored = stages[row["model"], row["stage"]]["readability"][row["question"]]
        assert float(row["value"]) == pytest.approx(stored["value"])
        assert int(row["n"]) == stored["n"] == N


def test_python_and_the_command_find_the_same(home: Path) -> None:
    found = compare_representations(
        home / "big",
        home / "small",
        twin=home / "big",
        examples=home / "quads.jsonl",
    )
    stored = json.loads((home / "out" / "result.json").read_text())
    uses = [{name: getattr(each, name) for name in each.__slots__} for each in stage_uses(found)]
    assert uses == stored["use"]
    last = found.stages["student"][-1].readability["core_NL"].to_json()
    assert last == stored["stages"][-1]["readability"]["core_NL"]


def test_the_last_stage_of_the_twin_that_is_the_teacher_is_like_the_teacher(home: Path) -> None:
    result = json.loads((home / "out" / "result.json").read_text())
    first = {(s["teacher"], s["student"]): s["aligned"]["value"] for s in result["similarity"]}
    names = ["input", "a0", "m0"]
    for each in result["floor"]:
        mirrored = first[names[each["twin"]], each["student"]]
        assert each["aligned"]["value"] == pytest.approx(mirrored, abs=1e-6)


def test_what_can_be_mended_is_one_line_and_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big = str(home / "big")
    pairs = str(write_pairs(home / "pairs.jsonl", 12))
    few = str(write_quads(home / "few.jsonl", 6))
    out = ["--out", str(home / "new" / "deep"), "--quiet"]
    for arguments, said in (
        ([big, "no-such-model", "--task", "nli-overlap"], "no-such-model"),
        ([big, big], "names no task"),
        ([big, big, "--examples", pairs], "has no quads"),
        ([big, big, "--examples", few], "6 quads are left"),
    ):
        assert run_command([*arguments, *out]) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
        assert not (home / "new").exists()
    for name in ("pairs.jsonl", "few.jsonl"):
        (home / name).unlink()


def test_an_older_result_is_replaced_only_when_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(home / "big"), str(home / "small"), "--quiet"]
    assert run_command([*arguments, "--out", str(home / "out")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run_command([*arguments, "--out", str(home / "big"), "--overwrite"]) == 2
    assert "holds other things" in capsys.readouterr().err
    assert run_command([*arguments, "--out", str(home / "quads.jsonl")]) == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "required: student"),
        (["a", "b", "--quads", "3"], "at least 8, got '3'"),
        (["a", "b", "--quads", "many"], "got 'many'"),
        (["a", "b", "--colour"], "--colour"),
    ],
)
def test_arguments_that_cannot_be_read_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_options(arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and error.count("\n") == 1


def test_the_folder_is_named_after_the_models() -> None:
    assert str(read_options(["org/big@v1", "./small/"]).folder) == "runs/probes-big-v1-small"


class TestPage:
    pytestmark = NEEDS_BROWSER

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_draws_every_figure_from_disk_without_a_complaint(
        self, home: Path, scheme: str
    ) -> None:
        with opened_browser() as browser:
            visit = Visit(browser, home / "out" / "probes.html", 400, scheme)
            assert visit.complaints == []
            assert all(request.startswith(("file:", "data:")) for request in visit.requests)
            assert visit.page.evaluate("document.body.dataset.drawn") == "8"
            assert visit.page.locator(".js-plotly-plot .main-svg").count() >= 8
