"""The command lines of `distillation`, before anything is read or trained."""

import subprocess
import sys

import pytest

COMMANDS = ("distillation.train", "distillation.grid.__main__", "distillation.evidence.__main__")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from {command} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")
