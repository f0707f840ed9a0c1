"""How far a run is: a bar on a terminal, plain lines in a log, or nothing.

The pipeline announces its stages and, inside a stage, how many examples are done. Everything
goes to standard error, so that standard output holds results only.
"""

import sys
import time
from typing import Protocol, runtime_checkable

from tqdm import tqdm


@runtime_checkable
class Stream(Protocol):
    """Where progress is written, such as `sys.stderr`."""

    def write(self, text: str, /) -> object:
        """Write text."""
        ...

    def flush(self) -> object:
        """Show what was written."""
        ...

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        ...


@runtime_checkable
class Progress(Protocol):
    """What the pipeline tells while it runs."""

    def stage(self, name: str) -> None:
        """A stage begins; the one before it has ended."""
        ...

    def step(self, done: int, total: int) -> None:
        """So much of the current stage is done."""
        ...

    def ready(self) -> None:
        """All that was asked for can be used; from here on the run only takes time."""
        ...

    def close(self) -> None:
        """The run has ended, well or not."""
        ...


class Silent:
    """No progress at all."""

    def stage(self, name: str) -> None:
        """Say nothing."""

    def step(self, done: int, total: int) -> None:
        """Say nothing."""

    def ready(self) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


class Lines:
    """One line a stage, with the seconds since the start.

    Lines are held back until the run is ready, so that input that cannot be used is answered by
    its one line alone.
    """

    def __init__(self, stream: Stream | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._start = time.monotonic()
        self._held: list[str] | None = []

    def stage(self, name: str) -> None:
        """Write the line of a stage."""
        line = f"{time.monotonic() - self._start:6.1f} s  {name}\n"
        if self._held is not None:
            self._held.append(line)
            return
        self._stream.write(line)
        self._stream.flush()

    def step(self, done: int, total: int) -> None:
        """Steps inside a stage are left out of a log."""

    def ready(self) -> None:
        """Write what was held back."""
        for line in self._held or []:
            self._stream.write(line)
        self._stream.flush()
        self._held = None

    def close(self) -> None:
        """Nothing to tidy."""


class Bar:
    """A bar that carries the name of the current stage and fills once for each."""

    def __init__(self, stream: Stream | None = None) -> None:
        self._bar = tqdm(
            total=1,
            file=stream if stream is not None else sys.stderr,
            bar_format="{elapsed}  {desc:<44} {percentage:3.0f}% |{bar:24}|",
            leave=False,
        )

    def stage(self, name: str) -> None:
        """Begin again at zero under a new name."""
        self._bar.n = 0
        self._bar.set_description_str(name, refresh=True)

    def step(self, done: int, total: int) -> None:
        """Fill the bar in proportion."""
        self._bar.n = done / max(total, 1)
        self._bar.update(0)

    def ready(self) -> None:
        """A bar goes away by itself."""

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def choose_progress(quiet: bool, stream: Stream | None = None) -> Progress:
    """A bar on a terminal, lines elsewhere, nothing when asked to be quiet."""
    if quiet:
        return Silent()
    target = stream if stream is not None else sys.stderr
    return Bar(target) if target.isatty() else Lines(target)
