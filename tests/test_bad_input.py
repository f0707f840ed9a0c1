"""What a user can get wrong: one line, exit code 2, no traceback, nothing left behind."""

import errno
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from comparing import (
    TWO_WAY,
    enter_copy,
    pair_rows,
    quad_rows,
    write_pairs,
    write_quads,
    write_rows,
)
from modelmaking import make_bert
from results import made_up_result
from safetensors.torch import load_file, save_file

from circuits.compare import Comparison, pipeline, storage
from circuits.compare.__main__ import main
from circuits.report import main as report_main

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    make_bert(home / "three", n_layers=1, seed=3)
    make_bert(home / "unnamed", n_layers=1, seed=4, classes=("LABEL_0", "LABEL_1"))
    write_quads(home / "quads.jsonl", 12)
    write_pairs(home / "pairs.jsonl", 12)
    return home


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of one's own, in which the models can be named."""
    return enter_copy(models, tmp_path, monkeypatch)


def complaint(
    capsys: pytest.CaptureFixture[str], *arguments: str, command: Callable[..., int] = main
) -> str:
    """The one line that the command says before it leaves with code 2."""
    try:
        code = command(list(arguments))
    except SystemExit as leaving:
        code = leaving.code
    printed = capsys.readouterr()
    said = printed.err.splitlines()
    assert code == 2, printed.err
    assert printed.out == ""
    assert len(said) == 1, printed.err
    assert "Traceback" not in printed.err
    return said[0]


def compare(
    capsys: pytest.CaptureFixture[str], *arguments: str, examples: str = "quads.jsonl"
) -> str:
    given = [*arguments] if len(arguments) >= 2 else ["big", "small", *arguments]
    before = set(Path.cwd().rglob("*"))
    said = complaint(capsys, *given, "--examples", examples)
    assert set(Path.cwd().rglob("*")) == before, "something was left behind"
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--n-pairs", "0"), "n_pairs is 0"),
        (("--n-pairs", "-4"), "n_pairs is -4"),
        (("--n-pairs", "many"), "'many' is not a whole number"),
        (("--batch-size", "0"), "batch_size is 0"),
        (("--seed", "-1"), "seed is -1"),
        (("--direction", "both"), "invalid choice: 'both'"),
        (("--dtype", "float8"), "invalid choice: 'float8'"),
        (("--backend", "abacus"), "invalid choice: 'abacus'"),
        (("--device", "abacus"), "'abacus'"),
        (("--device", "cuda:99"), "'cuda:99'"),
        (("--task", "juggling"), "Unknown task 'juggling'"),
        (("--checkpoints", "none.yaml"), "none.yaml"),
        (("--teacher-plain", "nobody"), "'nobody' is neither a name, a local folder nor a hub id"),
        (("--colour", "red"), "unrecognized arguments"),
    ],
)
def test_options_that_make_no_sense(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in compare(capsys, "big", "small", *arguments)


def test_a_missing_student(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "STUDENT" in complaint(capsys, "big")


def test_an_unknown_name_lists_what_there_is(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("checkpoints.yaml").write_text("version: 1\ncheckpoints:\n  teacher: {path: big}\n")
    said = compare(capsys, "techer", "small")
    assert "'techer'" in said
    assert "Did you mean 'teacher'?" in said


def test_no_task_and_no_examples(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Give --task" in complaint(capsys, "big", "small")


def test_a_task_that_needs_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--examples" in complaint(capsys, "big", "small", "--task", "hans")


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _with_pickles_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _with_broken_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _with_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.weight"] = tensors["classifier.weight"] * torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _changed_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (_without_config, "config.json"),
        (_without_weights, "model.safetensors"),
        (_with_pickles_only, "pickled weights only"),
        (_with_broken_weights, "cannot be loaded"),
        (_without_tokenizer, "tokenizer"),
        (_with_nan, "NaN"),
        (_changed_config(model_type="mamba"), "'mamba' are not supported"),
        (_changed_config(architectures=["BertForMaskedLM"]), "no classifier"),
        (_changed_config(auto_map={"AutoModel": "evil.Model"}), "auto_map"),
    ],
)
def test_checkpoints_that_cannot_be_opened(
    here: Path,
    models: Path,
    capsys: pytest.CaptureFixture[str],
    break_it: Callable[[Path], None],
    words: str,
) -> None:
    shutil.copytree(models / "small", here / "broken")
    break_it(here / "broken")
    assert words in compare(capsys, "big", "broken")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        (json.dumps(quad_rows(1)[0]) + "\n{broken\n", "line 2"),
        (json.dumps(quad_rows(1)[0]) + "\n" + json.dumps({"A": 1}) + "\n", "line 2"),
        ('{"some": "thing"}\n', "line 1"),
        (json.dumps(quad_rows(1)[0] | {"foil": "entailment"}), "label and foil"),
        (2 * (json.dumps(quad_rows(1)[0]) + "\n"), "'q0'"),
        (json.dumps(pair_rows(1)[0] | {"contrast": "colour"}), "unknown contrast 'colour'"),
        (json.dumps(pair_rows(1)[0] | {"label": "perhaps"}), "'perhaps'"),
        ('{"premise": "a", "hypothesis": "b", "label": 1}\n', "matched by name"),
    ],
)
def test_examples_that_cannot_be_read(
    here: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    Path("mine.jsonl").write_text(content)
    assert words in compare(capsys, examples="mine.jsonl")


def test_examples_that_are_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.jsonl" in compare(capsys, examples="nowhere.jsonl")


def test_examples_that_are_no_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("binary.jsonl").write_bytes(bytes(range(256)))
    assert "binary.jsonl" in compare(capsys, examples="binary.jsonl")


def test_no_aligned_quads_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"C": {"premise": "the doctor", "hypothesis": "a"}} for row in quad_rows(3)]
    write_rows(Path("odd.jsonl"), rows)
    said = compare(capsys, examples="odd.jsonl")
    assert "token-aligned" in said and "3" in said


def test_no_aligned_pairs_left(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"corrupted": {"premise": "the", "hypothesis": "a"}} for row in pair_rows(3)]
    write_rows(Path("odd.jsonl"), rows)
    assert "token-aligned" in compare(capsys, examples="odd.jsonl")


def test_text_longer_than_the_model_takes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"premise": "the doctor " * 60, "hypothesis": "the nurse"}
    cells = dict.fromkeys("ANCL", long)
    write_rows(Path("long.jsonl"), [row | cells for row in quad_rows(3)])
    assert "longer than the model takes" in compare(capsys, examples="long.jsonl")


def test_labels_that_a_model_does_not_have(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = compare(capsys, "unnamed", "small")
    assert "teacher 'unnamed'" in said and "'LABEL_0'" in said


def test_a_student_with_other_labels_than_its_teacher(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(Path("three.jsonl"), [row | {"foil": "neutral"} for row in quad_rows(3)])
    said = compare(capsys, "three", "small", examples="three.jsonl")
    assert "student 'small'" in said and "'neutral'" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("version: 1\ncheckpoints:\n  t: {path: big}\n  t: {path: small}\n", "4"),
        ("version: 1\ncheckpoints:\n  t: {path: big, colour: red}\n", "'colour'"),
        ("version: 2\ncheckpoints: {}\n", "version"),
        ("version: 1\ncheckpoints:\n  t: {path: 7}\n", "3"),
        ("version: 1\ncheckpoints:\n  t: {path: $HOME/x}\n", "environment variables"),
        ("version: 1\ncheckpoints:\n  t: {path: gone}\n", "does not exist"),
        ("version: 1\ncheckpoints: [\n", "mine.yaml"),
    ],
)
def test_checkpoint_files_that_break_the_schema(
    here: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    Path("mine.yaml").write_text(content)
    said = compare(capsys, "t", "small", "--checkpoints", "mine.yaml")
    assert words in said and "mine.yaml" in said


def test_an_output_folder_that_exists(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    assert "--overwrite" in compare(capsys, "big", "small", "--out", "out")
    said = compare(capsys, "big", "small", "--out", "out", "--overwrite")
    assert "other things than a comparison" in said
    assert Path("out/thesis.txt").read_text() == "years of work"


def test_an_output_folder_that_is_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("")
    assert "is a file" in compare(capsys, "big", "small", "--out", "out", "--overwrite")
    assert "out/below" in compare(capsys, "big", "small", "--out", "out/below")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_made(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(number, "cannot be done")

    monkeypatch.setattr(storage.Path, "mkdir", refuse)
    assert "cannot be written (cannot be done)" in compare(capsys, "big", "small", "--out", "x/y")


def test_a_disk_that_fills_up(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file may grow beyond 20 kB, as when a disk is full while the result is written."""
    made_up = Comparison(made_up_result(), {})
    monkeypatch.setattr(pipeline, "run_comparison", lambda *_, **__: made_up)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        said = compare(capsys, "big", "small", "--out", "runs/full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "runs/full cannot be written" in said


def test_a_hidden_package_is_named(here: Path) -> None:
    Path("behavior.py").write_text("raise RuntimeError('not ours')\n")
    done = subprocess.run(
        [sys.executable, "-m", "circuits.compare", "big", "small"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "behavior.py hides the package 'behavior'" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "holds no result.json"), ("{", "cannot be read"), ("[]", "schema_version None")],
)
def test_reports_of_folders_that_hold_no_result(
    here: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    Path("old").mkdir()
    if content is not None:
        Path("old/result.json").write_text(content)
        save_file({"x": torch.zeros(1)}, "old/arrays.safetensors")
    assert words in complaint(capsys, "old", command=report_main)


def test_a_student_that_answers_nothing_is_a_result(
    here: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(models / "small", here / "mute")
    tensors = load_file(here / "mute" / "model.safetensors")
    tensors["classifier.weight"] = torch.zeros_like(tensors["classifier.weight"])
    save_file(tensors, here / "mute" / "model.safetensors", metadata={"format": "pt"})
    arguments = ["big", "mute", "--examples", "quads.jsonl", "--no-figures", "--out", "out"]
    assert main(arguments) == 0
    assert "Undecided" in capsys.readouterr().out
    result = json.loads(Path("out/result.json").read_text())
    share = result["models"]["student"]["behavior"]["spurious_share"]
    assert share["value"] is None
    assert share["reason"] == "the model does not respond to either cue"
