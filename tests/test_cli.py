"""The commands: what they write, what they say, and that an early end leaves nothing behind."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from comparing import TWO_WAY, enter_copy, write_quads
from modelmaking import make_bert
from results import made_up_result

from behavior.progress import Silent, choose_progress
from circuits.compare import Comparison, heatmaps, pictures, pipeline, storage
from circuits.compare.__main__ import main
from circuits.compare.options import default_folder, read_options
from circuits.report import main as report_main


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("models")
    make_bert(home / "big", n_layers=2, seed=1, classes=TWO_WAY)
    make_bert(home / "small", n_layers=1, seed=2, classes=TWO_WAY)
    write_quads(home / "quads.jsonl", 12)
    return home


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(heatmaps, "_write_pictures", lambda *_: ())
    return enter_copy(models, tmp_path, monkeypatch)


@pytest.fixture
def stubbed(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, where a comparison is a made-up result: for what is written and how."""
    made_up = Comparison(made_up_result(), {"student.core": np.zeros((4, 2, 4), np.float32)})
    monkeypatch.setattr(pipeline, "run_comparison", lambda *_, **__: made_up)
    return here


BASIC = ("big", "small", "--examples", "quads.jsonl")


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} - {"big", "small", "quads.jsonl"}


def test_help_answers_without_torch() -> None:
    code = (
        "import sys\n"
        "from circuits.compare.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as leaving: assert leaving.code == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'plotly'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--teacher-plain" in done.stdout


def test_a_run_writes_the_whole_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASIC, "--out", "out"]) == 0
    printed = capsys.readouterr()
    maps = [f"{role}-{c}" for role in ("teacher", "student") for c in ("core", "shortcut")]
    assert {path.name for path in Path("out").iterdir()} == {
        "result.json", "arrays.safetensors", "report.html", "plotly.min.js", "heatmaps",
    }  # fmt: skip
    names = {path.name for path in Path("out/heatmaps").iterdir()}
    assert names == {f"{name}.{kind}" for name in maps for kind in ("csv", "html")}
    assert "conflicting accuracy" in printed.out
    assert "Undecided" in printed.out
    assert "Report: out/report.html" in printed.out
    stages = [line.split("s  ", 1)[1] for line in printed.err.splitlines()]
    assert stages[0] == "import libraries"
    assert "patch heads: student, shortcut" in stages
    assert stages[-1] == "draw and store"


def test_quiet_says_nothing(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_heatmap_tables_hold_the_numbers_of_the_result(stubbed: Path) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    result = json.loads(Path("out/result.json").read_text())
    with Path("out/heatmaps/student-core.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    nodes = result["models"]["student"]["effects"]["core"]["nodes"]
    assert {row["node"] for row in rows} == set(nodes)
    for row in rows:
        for name in ("value", "low", "high", "q", "n"):
            assert float(row[name]) == nodes[row["node"]][name]


def test_heatmap_pages_share_one_copy_of_plotly(stubbed: Path) -> None:
    assert main([*BASIC, "--out", "out", "--quiet"]) == 0
    page = Path("out/heatmaps/student-core.html").read_text()
    assert 'src="../plotly.min.js"' in page
    assert len(page) < 100_000


def test_no_figures_leaves_tables_and_report(stubbed: Path) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    assert {path.suffix for path in Path("out/heatmaps").iterdir()} == {".csv"}
    assert Path("out/report.html").is_file()


def test_json_is_all_that_is_printed(stubbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--json"]) == 0
    printed = capsys.readouterr()
    headline = json.loads(printed.out)
    assert headline["verdict"]["status"] == "erosion"
    assert headline["folder"] == "out"
    assert set(headline["losses"]) == {"C", "N", "mean"}


def test_dry_run_counts_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASIC, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "12 quads" in said
    assert "forwards" in said and "min" in said and "MB" in said
    assert leftovers(here) == set()


def test_the_folder_is_named_after_the_models() -> None:
    assert default_folder(read_options(["teacher", "student"]).config) == Path(
        "runs/teacher-student"
    )
    config = read_options(["./a/big/", "org/name@main"]).config
    assert default_folder(config) == Path("runs/big-name")


def test_overwrite_replaces_an_older_comparison(stubbed: Path) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    Path("out/stale.txt").write_text("old")
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet", "--overwrite"]) == 0
    assert not Path("out/stale.txt").exists()
    assert not list(Path.cwd().glob(".out.*"))


def test_an_empty_folder_is_no_obstacle(stubbed: Path) -> None:
    Path("out").mkdir()
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0


STAGES: dict[str, tuple[object, str]] = {
    "names": (pipeline, "resolve_roles"),
    "load": (pipeline, "load_roles"),
    "align": (pipeline, "align_evidence"),
    "ask": (pipeline, "ask_models"),
    "patch": (pipeline, "patch_pair"),
    "circuits": (pipeline, "discover_pair"),
    "verdict": (pipeline, "judge"),
    "store": (storage, "save"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_any_stage_leaves_no_result_and_only_the_steps_that_ended(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*STAGES[stage], interrupt)
    assert main([*BASIC, "--out", "runs/deep/out", "--no-figures"]) == 130
    assert "no result was written" in capsys.readouterr().err
    steps = here / "runs" / "deep" / "out.partial"
    kept = {path.name for path in steps.glob("*.safetensors")}
    assert bool(kept) == (stage in ("patch", "circuits", "verdict", "store"))
    assert leftovers(here) - kept <= {"runs", "deep", steps.name}


def test_a_failed_run_leaves_the_older_result(
    stubbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    before = Path("out/result.json").read_bytes()
    monkeypatch.setattr(storage, "save", interrupt)
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet", "--overwrite"]) == 130
    assert Path("out/result.json").read_bytes() == before


@pytest.fixture
def started(here: Path) -> Callable[[], "subprocess.Popen[str]"]:
    """Starts a run in its own process and waits until its temporary folder exists."""

    def start() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "circuits.compare", *BASIC, "--out", "runs/out", "--quiet"],
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 60
        while not list(here.glob("runs/.out.*.partial")):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        return process

    return start


def test_a_terminated_run_removes_its_temporary_folder(
    here: Path, started: Callable[[], "subprocess.Popen[str]"]
) -> None:
    process = started()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert leftovers(here) == set()


def test_what_a_killed_run_left_is_removed_by_the_next(
    here: Path,
    started: Callable[[], "subprocess.Popen[str]"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = started()
    process.kill()
    process.communicate(timeout=60)
    assert list(here.glob("runs/.out.*.partial"))
    monkeypatch.setattr(
        pipeline, "run_comparison", lambda *_, **__: Comparison(made_up_result(), {})
    )
    assert main([*BASIC, "--out", "runs/out", "--no-figures", "--quiet"]) == 0
    assert [path.name for path in Path("runs").iterdir()] == ["out"]


def test_the_partial_folder_of_a_living_run_is_left_alone(stubbed: Path) -> None:
    other = Path(f"runs/.out.{os.getppid()}.partial")
    other.mkdir(parents=True)
    assert main([*BASIC, "--out", "runs/out", "--no-figures", "--quiet"]) == 0
    assert other.is_dir()


def test_an_old_result_put_aside_by_a_killed_run_comes_back(stubbed: Path) -> None:
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 0
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    Path("out").rename(f".out.{dead.pid}.old")
    assert main([*BASIC, "--out", "out", "--no-figures", "--quiet"]) == 2
    assert Path("out/result.json").is_file()


def test_the_report_is_drawn_again_from_the_files_alone(
    stubbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASIC, "--out", "out", "--quiet"]) == 0
    page = Path("out/report.html").read_text()
    for name in ("report.html", "plotly.min.js"):
        (Path("out") / name).unlink()
    assert report_main(["out"]) == 0
    assert Path("out/report.html").read_text() == page
    assert Path("out/plotly.min.js").is_file()
    assert "Report: out/report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (
            "raise RuntimeError('Kaleido requires Google Chrome.\\n\\nEither ...')",
            "install chromium",
        ),
        ("raise ValueError('no such\\nfigure')", "SVG (ValueError: no such figure)"),
        ("import time; time.sleep(60)", "SVG (the browser did not answer)"),
    ],
)
def test_heatmaps_that_cannot_be_drawn_are_one_line(
    code: str, note: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(pictures, "_DRAW", code)
    monkeypatch.setattr(pictures, "SECONDS", 6.0)
    monkeypatch.setattr(pictures, "SECONDS_A_PICTURE", 0.0)
    notes = Comparison(made_up_result(), {}).save(here / "out")
    assert len(notes) == 1
    assert note in notes[0] and "\n" not in notes[0]
    assert {path.suffix for path in (here / "out/heatmaps").iterdir()} == {".csv", ".html"}


def test_a_full_disk_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(pictures, "_DRAW", 'print(\'[28, "No space left on device", "a.png"]\')')
    with pytest.raises(OSError, match=r"No space left on device: 'a\.png'"):
        pictures.draw_pictures([], [])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_that_names_the_stage() -> None:
    terminal = Terminal()
    progress = choose_progress(False, terminal)
    progress.stage("patch heads")
    progress.step(1, 2)
    progress.close()
    assert "patch heads" in terminal.getvalue()
    assert isinstance(choose_progress(True, terminal), Silent)
