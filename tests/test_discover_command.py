"""`python -m circuits.discover`: what it writes and says, and that failures leave nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from comparing import TWO_WAY, enter_copy, write_quads
from modelmaking import make_bert

from circuits.circuit import Circuit
from circuits.discover import main
from circuits.discover_options import build_parser, read_discover_options
from circuits.discovery import EdgeScores


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "model", n_layers=2, seed=1, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", 12)
    return home


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(models, tmp_path, monkeypatch)


BASIC = ("model", "--examples", "quads.jsonl", "--no-check")


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} - {"model", "quads.jsonl"}


def test_a_run_writes_circuit_scores_and_faithfulness(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASIC, "--out", "found", "--size", "20%", "--steps", "2"]) == 0
    said = capsys.readouterr()
    assert "core circuit of model" in said.out and "Written to found" in said.out
    assert "score edges (eap_ig_inputs)" in said.err
    folder = here / "found"
    assert leftovers(folder) == {"circuit.json", "scores.safetensors", "faithfulness.json"}
    circuit, scores = Circuit.load(folder / "circuit.json"), EdgeScores.load(folder)
    measured = json.loads((folder / "faithfulness.json").read_text())
    assert circuit.provenance["selected"] == len(scores.edges) // 5
    assert scores.settings == {"steps": 2, "rule": "midpoint", "attention": "linear"}
    assert measured["held_out"] and measured["circuit"]["n_edges"] == len(circuit)
    assert set(scores.units) == set(measured["chosen_units"])
    assert not set(scores.units) & set(measured["tested_units"])
    assert str(circuit.provenance["command"]).startswith("python -m circuits.discover model")


def test_the_headline_as_json_and_an_older_result(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*BASIC, "--method", "eap", "--size", "30", "--contrast", "shortcut", "--quiet"]
    assert main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    headline = json.loads(said.out)
    assert headline["folder"] == "runs/model-shortcut-eap" and said.err == ""
    assert main(arguments) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    (here / "other").mkdir()
    (here / "other" / "file").write_text("mine")
    assert main([*arguments, "--overwrite", "--out", "other"]) == 2
    assert "no circuit.json" in capsys.readouterr().err
    assert leftovers(here / "other") == {"file"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "0"], "size is 0"),
        (["--size", "200%"], "The size is 200%"),
        (["--n-pairs", "0"], "n_pairs is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--method", "eap", "--steps", "3"], "takes no steps"),
        (["--n-pairs", "4"], "at least 4 are needed"),
        (["--examples", "missing.jsonl"], "missing.jsonl"),
        (["--size", "1", "--method", "random", "--quiet"], "No edge is left"),
    ],
)
def test_what_can_be_mended_is_one_line_and_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main([*BASIC, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert leftovers(here) == set()


@pytest.mark.parametrize(
    "arguments", [["--size", "many"], ["--method", "magic"], ["--contrast", "both"], ["--what"]]
)
def test_options_that_do_not_exist_are_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        read_discover_options(["model", *arguments])
    assert left.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_a_model_that_names_no_task_is_asked_for_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model"]) == 2
    assert "names no task" in capsys.readouterr().err


def test_the_folder_is_named_after_what_was_asked() -> None:
    options = read_discover_options(["org/big@main", "--contrast", "shortcut", "--method", "eap"])
    assert options.folder == Path("runs/big-shortcut-eap")
    assert options.size is None and options.percent is None


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys, circuits.discover_command; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert "--contrast" in build_parser().format_help()
