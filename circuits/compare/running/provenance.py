"""Where a result comes from: versions, revision, machine, time."""

import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from circuits.compare.storage import Json

_PACKAGES = (
    "debias-circuits",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "plotly",
)


@dataclass(frozen=True, slots=True)
class Clock:
    """When a run began.

    Attributes:
        started: Date and time, UTC.
        start: On the monotonic clock, in seconds.
    """

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return round(time.monotonic() - self.start, 1)


def provenance(clock: Clock, command: str, n_threads: int, backend: str = "hooks") -> Json:
    """What is needed to know how a result was made; the only part of it that differs run by run."""
    other = () if backend == "hooks" else (backend,)
    return {
        "command": command,
        "started": clock.started,
        "seconds": clock.seconds,
        "versions": {"python": platform.python_version(), **_versions(other)},
        "backend": backend,
        "git_revision": _git_revision(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": n_threads,
        "executable": Path(sys.executable).name,
    }


def _versions(others: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in (*_PACKAGES, *others):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _git_revision() -> str | None:
    """Revision of the toolkit's own sources, with a mark if they were changed since."""
    home = Path(__file__).resolve().parents[3]
    if not (home / ".git").exists():
        return None
    try:
        revision = _git(home, "rev-parse", "HEAD")
        changed = _git(home, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{revision}, changed since" if changed else revision


def _git(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()
