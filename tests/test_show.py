"""A stored comparison in a terminal and in a notebook: what is printed, and how it is refused."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from results import made_up_result, number

from circuits.compare import Comparison
from circuits.compare.recipe.lines import WIDTH
from circuits.compare.showing import comparison_lines
from circuits.compare.storage import Json, write_result
from circuits.compare.stored_diff import COLUMNS
from circuits.compare.summary import terminal_summary
from circuits.show import main

EXTRA = (
    "Lost from stage m0 of the student on: a loss of 0.39.",
    "No set of heads carries the fault (all 255 sets): none does better.",
)


@pytest.fixture
def result() -> Json:
    made = made_up_result()
    verdict = made["verdict"]
    assert isinstance(verdict, dict)
    verdict["sentences"] += EXTRA
    return made


def with_nodes(result: Json) -> Json:
    nodes = [
        {
            "teacher": ["a1.h0"],
            "student": ["a0.h1", "a0.h2"],
            "contrast": "core",
            "category": "weakened",
            "origin": "own",
            "before": number(0.5),
            "after": number(0.1),
            "difference": number(-0.4, 0.05, 200),
            "p": 0.001,
            "q": 0.004,
            "stability": 0.99,
        },
        {
            "teacher": ["a2.h3"],
            "student": [],
            "contrast": "shortcut",
            "category": "unalignable",
            "origin": None,
            "before": number(0.2),
            "after": {"value": None, "reason": "no counterpart", "n": 0},
            "difference": {"value": None, "reason": "no counterpart", "n": 0},
            "p": 1.0,
            "q": 1.0,
            "stability": None,
        },
    ]
    return {**copy.deepcopy(result), "diff": {"nodes": nodes}}


def stored(result: Json, folder: Path) -> Path:
    folder.mkdir()
    write_result(folder, result, {"student.core": np.zeros((1, 1, 1), np.float32)})
    return folder


def test_all_sentences_and_numbers_are_printed(
    result: Json, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(result, tmp_path / "run")
    assert main([str(folder)]) == 0
    printed = capsys.readouterr().out
    flat = " ".join(printed.split())
    verdict = result["verdict"]
    assert isinstance(verdict, dict)
    for sentence in verdict["sentences"]:
        assert sentence in flat
    for words in ("loss on N 0.86", "retention 0.12", "conflicting accuracy", "untrained_student"):
        assert words in flat
    assert "a0.h0" in flat and "Where it was lost." in flat


def test_no_line_is_wider_than_a_terminal(result: Json) -> None:
    lines = comparison_lines(with_nodes(result))
    assert max(map(len, lines)) <= WIDTH
    assert WIDTH <= 100


def test_matched_nodes_are_listed_only_where_there_are_some(result: Json) -> None:
    assert not any("Matched nodes" in line for line in comparison_lines(result))
    lines = comparison_lines(with_nodes(result))
    [row] = [line for line in lines if "weakened" in line]
    assert "a0.h1+a0.h2" in row and "-0.40" in row and "own" in row


def test_data_without_quads_are_printed_as_well(result: Json) -> None:
    models = result["models"]
    assert isinstance(models, dict)
    for model in models.values():
        model["groups"] = {}
    result |= {"losses": {}, "erosion": {}, "retention": {"value": None, "reason": "no", "n": 0}}
    lines = comparison_lines(result)
    assert not any(line.startswith("loss on N") for line in lines)


@pytest.mark.parametrize("content", [None, "{", '{"schema_version": 99}'])
def test_a_folder_without_a_result_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert str(tmp_path) in said.err


def test_a_broken_overview_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "overview.json").write_text("[1]")
    assert main([str(tmp_path)]) == 2
    assert "overview.json cannot be read" in capsys.readouterr().err


def test_help_and_a_refusal_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from circuits.show import main\n"
        f"assert main([{str(tmp_path)!r}]) == 2\n"
        "assert not {'torch', 'transformers', 'plotly'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_summary_says_where_and_what_interventions_showed(result: Json) -> None:
    said = terminal_summary(result).splitlines()
    for sentence in EXTRA:
        assert sentence in said
    assert "Loss on C: 0.31." not in said, "stands in the line above already"


def test_the_diff_as_a_table(result: Json) -> None:
    frame = Comparison(with_nodes(result), {}).diff.to_dataframe()
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["student"]) == ["a0.h1+a0.h2", ""]
    assert frame["difference"][0] == -0.4
    assert frame["low"][0] < frame["difference"][0] < frame["high"][0]
    assert np.isnan(frame["difference"][1]) and frame["n"][1] == 0


def test_no_matched_nodes_are_an_empty_table_and_a_reason(result: Json) -> None:
    empty = Comparison({**result, "diff": {"nodes": [], "reason": "another width"}}, {}).diff
    frame = empty.to_dataframe()
    assert frame.empty and tuple(frame.columns) == COLUMNS
    assert "another width" in repr(empty)


def test_the_notebook_cell_is_escaped_and_keeps_its_style_to_itself(result: Json) -> None:
    bad = "<img src=x onerror=alert(1)>"
    models, verdict = result["models"], result["verdict"]
    assert isinstance(models, dict) and isinstance(verdict, dict)
    models["student"]["checkpoint"] = bad
    verdict["sentences"] = [bad, bad]
    drawn = Comparison(result, {})._repr_html_()
    assert "<img" not in drawn and drawn.count("&lt;img") == 3
    assert 'class="chip">erosion' in drawn
    assert drawn.count('class="tile"') == 3
    style = drawn[drawn.index("<style>") + 7 : drawn.index("</style>")]
    rules = [rule.split("{")[0] for rule in style.split("}") if rule.strip()]
    assert rules
    for selector in ",".join(rules).split(","):
        assert selector.strip().startswith(".dc-cell")


def test_what_is_shown_is_what_was_stored(result: Json, tmp_path: Path) -> None:
    folder = stored(with_nodes(result), tmp_path / "run")
    before = json.dumps(result)
    assert comparison_lines(Comparison.load(folder).result) == comparison_lines(with_nodes(result))
    assert json.dumps(result) == before
