"""What the command lines of all packages share: errors of one line, exit codes, completion.

Completion is argcomplete's (the extra `completion`): it runs the command up to the reading of its
arguments, so a module that offers it imports nothing slow before, and says PYTHON_ARGCOMPLETE_OK.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from types import FrameType
from typing import Any, NoReturn

from behavior.errors import CircuitsError

DONE, MENDABLE, INTERRUPTED, TERMINATED = 0, 2, 130, 143


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage; completes itself where a shell asks."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        sys.stderr.write(f"{self.prog}: {message}. See --help.\n")
        raise SystemExit(2)

    def parse_args(  # pyright: ignore[reportIncompatibleMethodOverride]  (overloads there)
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        """Read the arguments; answer a shell that asks how they go on, and leave."""
        if "_ARGCOMPLETE" in os.environ:
            # Only then: it is an optional part, and nobody else needs it.
            from argcomplete import autocomplete  # noqa: PLC0415

            autocomplete(self)
        return super().parse_args(args, namespace)


def guarded(action: Callable[[], int]) -> int:
    """Run a command: what the user can mend is said in one line, with exit code 2."""
    try:
        with terminable():
            return action()
    except CircuitsError as error:
        return _mendable(error)
    except (MemoryError, RuntimeError) as error:
        # torch's own OutOfMemoryError is a RuntimeError, and torch may not be imported yet.
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        return _mendable("Out of memory. Give a smaller --batch-size, or another --device.")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; no result was written.\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def quieten() -> None:
    """Settings of libraries that have to be made before these are imported."""
    # A spinning OpenMP thread on a busy core costs many times what a second core gives.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextlib.contextmanager
def terminable() -> Generator[None]:
    """Let SIGTERM unwind the stack, so that temporary folders are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _mendable(error: object) -> int:
    sys.stderr.write(" ".join(str(error).split()) + "\n")
    return MENDABLE
