"""What the command lines of all packages share: errors of one line, and completion in a shell.

Completion is argcomplete's (the extra `completion`): it runs the command up to the reading of its
arguments, so a module that offers it imports nothing slow before, and says PYTHON_ARGCOMPLETE_OK.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from typing import Any, NoReturn


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
