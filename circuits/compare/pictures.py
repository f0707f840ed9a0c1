"""Draws figures as picture files, in a process of its own.

A Chrome does it. One that dies without a word is waited for without end, in this process even at
its exit; another process can be ended, with its browser.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

SECONDS = 120.0
SECONDS_A_PICTURE = 10.0
"""Longest wait for the browser, and what each picture adds; a slow machine needs two for one."""

NO_ANSWER = "the browser did not answer"

_DRAW = """\
import json, sys
import plotly.io
asked = json.load(sys.stdin)
figures = [json.loads(figure) for figure in asked["figures"]]
try:
    plotly.io.write_images(figures, asked["paths"], scale=2)
except OSError as error:
    if error.errno is None:
        raise
    json.dump([error.errno, error.strerror, str(error.filename or "")], sys.stdout)
"""


def draw_pictures(figures: Sequence[go.Figure], paths: Sequence[Path]) -> str:
    """Draw each figure to its file; why they were not drawn, empty if they were.

    Raises:
        OSError: If a file cannot be written.
    """
    asked = {
        "figures": [figure.to_json() for figure in figures],
        "paths": [str(path.absolute()) for path in paths],
    }
    wait = SECONDS + SECONDS_A_PICTURE * len(paths)
    with subprocess.Popen(
        [sys.executable, "-c", _DRAW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            said, complaint = process.communicate(json.dumps(asked), timeout=wait)
        except subprocess.TimeoutExpired:
            return NO_ANSWER
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if said.startswith("["):
        raise OSError(*json.loads(said))
    lines = complaint.strip().splitlines()
    return "" if process.returncode == 0 else _reason(lines)


def _reason(lines: Sequence[str]) -> str:
    """The last error of a traceback, which may have several lines."""
    start = max((i for i, line in enumerate(lines) if line.startswith("Traceback")), default=0)
    said = [line for line in lines[start + 1 :] if not line.startswith(" ")]
    return " ".join(" ".join(said).split()) or "no reason was given"
