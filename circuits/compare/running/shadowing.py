"""`python -m` puts the working folder first, so a file there can hide one of our packages.

Only the standard library is imported here: the check runs before any of the five is used.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("behavior", "patching", "probes", "distillation", "circuits")


def shadowed_package() -> str | None:
    """One line about the first of our packages that something else on the path hides, or None."""
    home = Path(__file__).resolve().parents[3]
    for package in PACKAGES:
        spec = PathFinder.find_spec(package, sys.path)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin).resolve()
        if origin != home / package / "__init__.py":
            found = origin.parent if origin.name == "__init__.py" else origin
            return (
                f"{found} hides the package {package!r} of debias-circuits. Rename it, or run "
                "the command from another folder."
            )
    return None


def run_unshadowed(command: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command if nothing hides our packages, which would fail on import with a traceback.

    Args:
        command: Module and function, such as `circuits.compare.command:run_command`.
        arguments: Of the command line; None takes those of the process.

    Returns:
        The exit code: 0 is done, 2 is for the user to mend, 130 is Ctrl-C.
    """
    hidden = shadowed_package()
    if hidden is not None:
        sys.stderr.write(f"{hidden}\n")
        return 2
    module, _, function = command.partition(":")
    return getattr(import_module(module), function)(arguments)
