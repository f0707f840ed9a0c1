"""Every code block of the documentation runs, and every command line in it parses.

Blocks of one page share a namespace and a folder, as a reader's session would. The folder holds a
small comparison under the name that the pages load, so that no page waits for a large one.
"""

import argparse
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from circuits.compare import compare_models
from patching.models import architecture

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
)
CHEAP = {"--help", "--list", "--dry-run"}
STORED = "runs/teacher-student"

_FENCE = re.compile(r"^```(?P<language>console|sh)\n(?P<lines>.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(
    r"^    (?P<line>python -m (circuits|probes|distillation)\S* .*)$", re.MULTILINE
)
_OURS = re.compile(r"python -m (?P<module>(circuits|probes|distillation)[\w.]*)(?P<rest>.*)")
_SYBIL = Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT), pattern="*.md")


class _Parsed(Exception):
    """Raised in place of running a command whose arguments could be read."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_python() -> list[Path]:
    return [page for page in PAGES if "```python\n" in page.read_text(encoding="utf-8")]


def command_lines() -> list[str]:
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = [match["lines"] for match in _FENCE.finditer(text)]
        lines = [line for block in blocks for line in block.splitlines()]
        for line in (*lines, *(match["line"] for match in _INDENTED.finditer(text))):
            match = _OURS.search(line.partition("  #")[0])
            if match is not None and "..." not in line:
                found[f"{match['module']}{match['rest']}".strip()] = None
    return list(found)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of the bundled pair without companions, on few quads."""
    names = yaml.safe_load((ROOT / "checkpoints.yaml").read_text(encoding="utf-8"))["checkpoints"]
    pair = {
        name: {"path": str(ROOT / names[name]["path"]), "task": names[name]["task"]}
        for name in ("teacher", "student")
    }
    home = tmp_path_factory.mktemp("stored")
    file = home / "checkpoints.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "checkpoints": pair}), encoding="utf-8")
    comparison = compare_models(
        "teacher",
        "student",
        checkpoints=str(file),
        n_pairs=16,
        n_examples=32,
        n_probe_quads=0,
        n_resamples=100,
        discovery="none",
        interventions=False,
    )
    comparison.save(home / "comparison", figures=False)
    return home / "comparison"


@pytest.fixture
def session(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader has it after the tutorial; the families registered in it are undone."""
    (tmp_path / STORED).parent.mkdir()
    (tmp_path / STORED).symlink_to(stored)
    shutil.copy(ROOT / "checkpoints.yaml", tmp_path)
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.setattr(architecture, "_FAMILIES", dict(architecture._FAMILIES))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", with_python(), ids=name_of)
def test_the_python_of_a_page_runs_from_top_to_bottom(page: Path, session: Path) -> None:
    document = _SYBIL.parse(page)
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_of_the_documentation_parses(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *arguments = shlex.split(line)
    if not CHEAP & set(arguments):
        _stop_after_parsing(monkeypatch)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.chdir(ROOT)
    with pytest.raises((SystemExit, _Parsed)) as leaving:
        runpy.run_path(str(_file_of(module)), run_name="__main__")
    if isinstance(leaving.value, SystemExit):
        assert leaving.value.code == 0, capsys.readouterr().err


def test_a_command_line_with_an_option_that_is_gone_is_caught(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError):
        test_a_command_line_of_the_documentation_parses(
            "circuits.compare teacher student --gone", monkeypatch, capsys
        )


def _file_of(module: str) -> Path:
    place = ROOT / module.replace(".", "/")
    return place / "__main__.py" if place.is_dir() else place.with_suffix(".py")


def _stop_after_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    read = argparse.ArgumentParser.parse_args

    def parse(*given: object, **named: object) -> None:
        read(*given, **named)  # pyright: ignore
        raise _Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


def _pages_in(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in _pages_in(part)]  # pyright: ignore


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = _pages_in(yaml.safe_load(settings)["nav"])
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert len(set(listed)) == len(listed)
    assert set(listed) == there


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"
