"""Runs that are stopped, killed or started twice: what is kept, taken, refused and thrown away."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comparing import TWO_WAY, enter_copy, write_quads
from modelmaking import make_bert

from behavior.errors import ResultError
from behavior.estimates import Estimate
from behavior.inputs import ImageInput, TextInput
from behavior.locking import locked
from behavior.progress import Silent
from behavior.staging import staged_folder
from circuits.compare import Comparison
from circuits.compare.__main__ import main
from circuits.compare.config import ComparisonConfig
from circuits.compare.options import read_options
from circuits.compare.page.report import write_report
from circuits.compare.pipeline import run_comparison
from circuits.compare.running.fingerprints import Fingerprints, code_digest
from circuits.compare.running.packing import Packer, unpack
from circuits.compare.running.steps import Steps, kept_steps, remove_steps
from circuits.compare.storage import SCHEMA_VERSION, Json
from patching import load_checkpoint
from patching.files import read_tensors

GOLDEN = Path(__file__).parent / "data" / "golden" / "version-1"
STEPS = [
    *(f"answers of {role}" for role in ("teacher", "student")),
    *(f"effects in {role}, {c}" for role in ("teacher", "student") for c in ("core", "shortcut")),
    *(f"circuits of {role}, {c}" for role in ("teacher", "student") for c in ("core", "shortcut")),
    *(f"stages of {model}" for model in ("teacher", "student")),
    *(f"stages of untrained {role}" for role in ("teacher", "student")),
    *(f"margins by depth of {role}" for role in ("teacher", "student")),
    "similarity of stages",
    "matching heads",
    "interventions on the student",
    "interventions on the teacher",
]


class Stopped(Exception):
    """Of a run that a test stops."""


class StopAt(Silent):
    """Progress that ends the run where a stage begins."""

    def __init__(self, stage: str) -> None:
        self.at = stage

    def stage(self, name: str) -> None:
        if name == self.at:
            raise Stopped


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two models and quads, in which the tests of this file run."""
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home


EVIDENCE = ["big", "small", "--examples", "quads.jsonl", "--n-pairs", "80", "--probe-quads", "64"]
QUICK = ["--discovery", "eap", "--no-check", "--no-figures", "--quiet", "--out", "runs/out"]
COMMAND = [*EVIDENCE, *QUICK]


@pytest.fixture(scope="module")
def config(models: Path) -> ComparisonConfig:
    return read_options(COMMAND).config


@pytest.fixture(scope="module")
def whole(config: ComparisonConfig) -> Comparison:
    """A run that nothing interrupts, and that stores no steps."""
    return run_comparison(config, Silent())


@pytest.fixture(scope="module")
def stopped(
    config: ComparisonConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison, list[str]]:
    """A run that is stopped and resumed: its steps, its result, and which steps were taken."""
    folder = tmp_path_factory.mktemp("steps")
    with pytest.raises(Stopped):
        run_comparison(config, StopAt("patch heads: student, core"), steps=Steps(folder))
    steps = Steps(folder, resume=True)
    return folder, run_comparison(config, Silent(), steps=steps), steps.taken


def assert_same(found: Comparison, expected: Comparison) -> None:
    """To the last bit, but for when and how it was run."""
    mine, theirs = ({**each.result, "provenance": None} for each in (found, expected))
    assert json.dumps(mine) == json.dumps(theirs)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, values in found.arrays.items():
        assert values.dtype == expected.arrays[name].dtype
        assert values.tobytes() == expected.arrays[name].tobytes(), name


def test_a_run_that_was_stopped_goes_on_where_it_was(
    whole: Comparison, stopped: tuple[Path, Comparison, list[str]]
) -> None:
    _, found, taken = stopped
    assert taken == STEPS[:4]
    assert_same(found, whole)


def test_a_run_from_stored_steps_alone_equals_an_uninterrupted_one(
    config: ComparisonConfig, whole: Comparison, stopped: tuple[Path, Comparison, list[str]]
) -> None:
    said: list[str] = []
    steps = Steps(stopped[0], resume=True, say=said.append)
    assert_same(run_comparison(config, Silent(), steps=steps), whole)
    assert steps.taken == STEPS
    assert said == [f"taken from the run before: {name}" for name in STEPS]


class Differing(Steps):
    """Takes every stored result, and notes what it depended on that is another now."""

    def run(self, name: str, depends: Mapping[str, object], compute: Callable[[], Any]) -> Any:
        assert self.folder is not None
        path = self.folder / f"{re.sub('[^a-z]+', '-', name)}.safetensors"
        tensors, about = read_tensors(path, "step")
        key = self.fingerprints.of_all(depends)
        self.taken.extend(f"{name}: {part}" for part in key if key[part] != about["key"].get(part))
        return unpack(about["result"], tensors)


@pytest.mark.parametrize(
    ("changes", "part", "again"),
    [
        ({"n_resamples": 60}, "number of resamples", (*STEPS[6:10], *STEPS[16:])),
        ({"discovery": "clean_corrupted"}, "discovery", STEPS[6:10]),
        ({"direction": "denoise"}, "direction", STEPS[2:10]),
        ({"n_probe_quads": 60}, "data", STEPS[10:14]),
        ({"batch_size": 30}, "batch size", STEPS),
        ({"delta": 0.2}, "", ()),
    ],
)
def test_another_setting_runs_again_only_what_depends_on_it(
    config: ComparisonConfig,
    stopped: tuple[Path, Comparison, list[str]],
    changes: Mapping[str, Any],
    part: str,
    again: Sequence[str],
) -> None:
    steps = Differing(stopped[0])
    with pytest.raises(Stopped):
        run_comparison(replace(config, **changes), StopAt("intervals of effects"), steps=steps)
    assert steps.taken == [f"{name}: {part}" for name in again]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "one bit":
        content[-1] ^= 1
    elif how == "half":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    else:
        content[:8] = b"not this"
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", ["one bit", "half", "empty", "no header"])
def test_a_damaged_step_is_run_again_and_says_so(tmp_path: Path, how: str) -> None:
    Steps(tmp_path).run("a step", {"data": 1}, lambda: torch.arange(9.0))
    damage(next(tmp_path.iterdir()), how)
    said: list[str] = []
    again = Steps(tmp_path, resume=True, say=said.append)
    assert torch.equal(again.run("a step", {"data": 1}, lambda: torch.ones(2)), torch.ones(2))
    assert said == ["run again, what was stored is damaged: a step"]
    assert torch.equal(again.run("a step", {"data": 1}, lambda: torch.zeros(2)), torch.ones(2))


def test_what_is_stored_says_what_else_it_depended_on(tmp_path: Path) -> None:
    def run(depends: Mapping[str, object]) -> tuple[int, list[str]]:
        said: list[str] = []
        return Steps(tmp_path, True, said.append).run("x", depends, lambda: len(depends)), said

    assert run({"seed": 0}) == (1, [])
    assert run({"seed": 0}) == (1, ["taken from the run before: x"])
    assert run({"seed": 0, "direction": "noise"})[1] == ["run again, direction differs: x"]
    assert run({"seed": 1, "direction": "noise"})[1] == ["run again, seed differs: x"]


def test_without_resume_stored_steps_are_not_read(tmp_path: Path) -> None:
    Steps(tmp_path).run("x", {}, lambda: 1)
    assert Steps(tmp_path).run("x", {}, lambda: 2) == 2
    assert Steps(tmp_path, resume=True).run("x", {}, lambda: 3) == 2


@dataclass(frozen=True)
class Foreign:
    """A result of no package of ours."""

    value: int


@pytest.mark.parametrize("value", [Foreign(1), {1, 2}, Path("x"), np.array(["text"])])
def test_what_cannot_be_stored_is_said_and_still_returned(tmp_path: Path, value: object) -> None:
    said: list[str] = []
    found = Steps(tmp_path, resume=True, say=said.append).run("x", {}, lambda: value)
    assert found is value
    assert len(said) == 1 and said[0].startswith("not stored (")
    assert list(tmp_path.iterdir()) == []


def test_packing_keeps_every_bit_and_kind() -> None:
    value: dict[Any, Any] = {
        "estimate": Estimate(0.1 + 0.2, None, None, 3, "why"),
        ("a", 1): [1, 2.5, None, True, float("inf")],
        "tensors": (torch.tensor([1e-45, -0.0]), torch.arange(6).reshape(2, 3).T, torch.empty(0)),
        "arrays": (np.array(2.5), np.arange(4)[::-2], np.array([True, False])),
    }
    packer = Packer()
    found = unpack(json.loads(json.dumps(packer.pack(value))), packer.tensors)
    assert found["estimate"] == value["estimate"]
    assert found["a", 1] == value["a", 1]
    for mine, given in zip(found["tensors"], value["tensors"], strict=True):
        assert mine.dtype == given.dtype and torch.equal(mine, given) and mine.is_contiguous()
    for mine, given in zip(found["arrays"], value["arrays"], strict=True):
        assert mine.dtype == given.dtype and mine.shape == given.shape
        assert np.array_equal(mine, given)


@pytest.mark.parametrize(
    "record", ["os:system", "subprocess:Popen", "behavior.estimates:np", "circuits.nowhere:X"]
)
def test_a_stored_file_can_make_nothing_but_results(record: str) -> None:
    with pytest.raises(ValueError, match="is no result of this version"):
        unpack({"record": record, "fields": {}}, {})


def test_fingerprints_tell_models_and_inputs_apart(models: Path, tmp_path: Path) -> None:
    prints = Fingerprints()
    model = load_checkpoint(models / "small", check=False)
    shutil.copytree(models / "small", tmp_path / "small")
    words = json.loads((tmp_path / "small" / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (tmp_path / "small" / "tokenizer.json").write_text(json.dumps(words))
    other = load_checkpoint(tmp_path / "small", check=False)
    other.name = model.name
    assert other.digest == model.digest
    assert prints.of(other) != prints.of(model)
    assert prints.of(model) == Fingerprints().of(load_checkpoint(models / "small", check=False))
    assert prints.of(TextInput("a", "b")) != prints.of(TextInput("a b"))
    (tmp_path / "image.png").write_bytes(b"one")
    before = prints.of(ImageInput(tmp_path / "image.png"))
    (tmp_path / "image.png").write_bytes(b"two")
    assert prints.of(ImageInput(tmp_path / "image.png")) != before


def test_steps_are_kept_when_a_run_fails_and_go_when_it_is_done(tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    with pytest.raises(Stopped), kept_steps(out, False, said.append) as steps:
        steps.run("x", {}, lambda: 1)
        raise Stopped
    kept = tmp_path / "out.partial"
    assert [path.name for path in kept.iterdir()] == ["x.safetensors"]
    assert said.pop() == f"finished steps are kept in {kept}; go on with --resume"
    with kept_steps(out, False, said.append):
        assert said.pop() == f"steps in {kept} are left aside; --resume goes on from them"
    (kept / "mine.txt").write_text("not of a run")
    remove_steps(out)
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter_copy(models, tmp_path, monkeypatch)


def test_a_run_that_was_killed_is_resumed_by_the_command(
    here: Path, whole: Comparison, capsys: pytest.CaptureFixture[str]
) -> None:
    process = subprocess.Popen([sys.executable, "-m", "circuits.compare", *COMMAND])
    until = time.monotonic() + 120
    while not (here / "runs/out.partial/effects-in-student-core.safetensors").exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (here / "runs/out").exists()
    code_digest.cache_clear()  # as in a process of its own
    assert main([*COMMAND, "--resume"]) == 0, capsys.readouterr().err
    assert [path.name for path in Path("runs").iterdir()] == ["out"]
    found = Comparison.load("runs/out")
    provenance = found.result["provenance"]
    assert isinstance(provenance, dict) and set(provenance["resumed"]) >= set(STEPS[:5])
    assert_same(found, whole)


def test_a_second_run_to_the_same_folder_is_refused_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with staged_folder(Path("runs/out")):
        assert main(COMMAND) == 2
        said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"process {os.getpid()} on {socket.gethostname()}" in said
    assert "give another folder with --out" in said
    assert [path.name for path in Path("runs").iterdir()] == ["out"]


def hold(text: str, folder: Path) -> list[str]:
    (folder / ".out.lock").write_text(text)
    said: list[str] = []
    with locked(folder / "out", Path("out"), said.append):
        assert str(os.getpid()) in (folder / ".out.lock").read_text()
    assert not (folder / ".out.lock").exists()
    return said


def test_the_lock_of_a_dead_run_is_taken_over_in_one_line(tmp_path: Path) -> None:
    owner = {"pid": 4_000_000, "host": socket.gethostname()}
    line = f"taking over the lock of a dead run (process 4000000 on {socket.gethostname()})"
    assert hold(json.dumps(owner), tmp_path) == [line]
    assert hold("{", tmp_path) == ["taking over the lock of a dead run (unreadable)"]
    assert hold("", tmp_path) == []


def test_the_lock_of_another_host_is_not_taken_over(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"run on another host \(process 7 on elsewhere\)"):
        hold('{"pid": 7, "host": "elsewhere"}', tmp_path)
    assert json.loads((tmp_path / ".out.lock").read_text())["host"] == "elsewhere"


def test_a_killed_process_lets_go_of_its_lock(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from behavior.locking import locked\n"
        "with locked(Path(sys.argv[1]), Path('out')):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    said: list[str] = []
    with (
        pytest.raises(ResultError, match=f"process {process.pid} on"),
        locked(tmp_path / "out", Path("out"), said.append),
    ):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path / "out", Path("out"), said.append):
        assert len(said) == 1 and f"process {process.pid} on" in said[0]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


def test_a_result_of_the_version_before_is_read_and_drawn(golden: Path) -> None:
    assert json.loads((golden / "result.json").read_text())["schema_version"] == 1
    old = Comparison.load(golden)
    assert old.result["schema_version"] == SCHEMA_VERSION
    assert (old.config.interventions, old.config.n_probe_quads) == (False, 0)
    assert old.verdict.status == "undecided"
    assert old.arrays["student.logits.A"].shape == (8, 2)
    write_report(golden, old.result)
    page = (golden / "report.html").read_text()
    assert "there is no debiasing that a student could have lost" in page


def rewritten(folder: Path, change: Callable[[Json], object]) -> Path:
    result = json.loads((folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.mark.parametrize(
    ("version", "advice"),
    [(SCHEMA_VERSION + 1, "Install the version that wrote it"), (0, "Run the comparison again")],
)
def test_a_result_that_cannot_be_read_says_what_to_do(
    golden: Path, version: int, advice: str
) -> None:
    folder = rewritten(golden, lambda result: result.update(schema_version=version))
    with pytest.raises(ResultError, match=f"schema_version {version}; this version reads 1 and 2"):
        Comparison.load(folder)
    with pytest.raises(ResultError, match=advice):
        Comparison.load(folder)
