"""What `python -m circuits.doctor` says of parts that are there, missing, or too old."""

import json
import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from choreographer.browsers.chromium import Chromium

from circuits.doctor import main
from circuits.doctor_parts import examine_parts

ROOT = Path(__file__).resolve().parent.parent


def install(folder: Path, name: str, version: str, *requires: str) -> None:
    """The metadata of a distribution, as pip leaves it."""
    home = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    home.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (home / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place that alone is searched for distributions; modules that are loaded stay."""
    import_module("torch")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def state(name: str) -> tuple[bool, str | None, str]:
    part = next(part for part in examine_parts() if part.name == name)
    return part.found, part.version, part.remark


def test_a_library_that_is_not_installed_is_not_found_and_the_command_is_named(only: Path) -> None:
    assert state("peft") == (False, None, "")
    part = next(part for part in examine_parts() if part.name == "peft")
    assert part.to_json()["install"] == 'pip install -c constraints.txt -e ".[lora]"'


def test_a_library_older_than_its_extra_asks_for_is_not_counted_as_found(only: Path) -> None:
    install(only, "debias-circuits", "0.1.0", 'peft>=0.18; extra == "lora"')
    install(only, "peft", "0.9.0")
    assert state("peft") == (False, "0.9.0", ">=0.18 is needed")


def test_a_library_that_is_new_enough_is_found(only: Path) -> None:
    install(only, "debias-circuits", "0.1.0", 'peft>=0.18; extra == "lora"')
    install(only, "peft", "0.18.0")
    assert state("peft") == (True, "0.18.0", "")


def test_no_browser_on_the_machine_is_no_browser_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: None)
    assert state("Chrome or Chromium") == (False, None, "")


def test_every_extra_that_a_part_names_exists_and_holds_it() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for part in examine_parts():
        _, bracket, rest = part.install.partition(".[")
        if bracket:
            wanted = project["optional-dependencies"][rest.partition("]")[0]]
            assert any(entry.startswith(part.name) for entry in wanted), part


def test_json_and_table_say_the_same_and_leave_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    table = capsys.readouterr().out
    assert main(["--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert f"torch {said['versions']['torch']}" in table.splitlines()[0]
    for part in said["parts"]:
        assert part["name"] in table and part["adds"] in table
        assert (part["install"] is None) == part["found"]
        assert part["found"] or f"to get it: {part['install']}" in table


def test_libraries_are_looked_up_without_being_imported() -> None:
    code = (
        "import sys\n"
        "from circuits.doctor import main\n"
        "main([])\n"
        "heavy = {'transformers', 'nnsight', 'transformer_lens', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_mistyped_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--jsn"])
    assert leaving.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "typed, completed",
    [
        ("circuits.doctor --j", ["--json"]),
        ("circuits.compare teacher student --di", ["--direction", "--discovery"]),
        ("circuits.compare teacher student --direction ", ["noise", "denoise"]),
        ("circuits.validate --pl", ["--plants"]),
    ],
)
def test_a_shell_that_asks_is_told_how_a_command_goes_on(
    typed: str, completed: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("argcomplete")
    line = f"python -m {typed}"
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "3",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run(
        [sys.executable, "-m", typed.split()[0]], env=os.environ | asked, check=True, cwd=ROOT
    )
    assert [word.strip() for word in answer.read_text().split("\n") if word.strip()] == completed


@pytest.mark.parametrize(
    "module",
    sorted(
        str(path.relative_to(ROOT))
        for package in ("circuits", "probes", "distillation")
        for path in (ROOT / package).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    ),
)
def test_every_command_offers_completion_and_examples(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = (ROOT / module).read_text(encoding="utf-8")[:1024]
    assert "PYTHON_ARGCOMPLETE_OK" in head
    name = module.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_path(str(ROOT / module), run_name="__main__")
    assert leaving.value.code == 0
    usage, _, rest = capsys.readouterr().out.partition("options:")
    assert f"python -m {name}" in usage
    assert f"python -m {name}" in rest, "no example after the options"
