"""`python -m` puts the working folder first, so a file there can hide one of our packages.

Only the standard library is imported here: the check runs before any of the five is used.
"""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("behavior", "patching", "probes", "distillation", "circuits")


def shadowed_package() -> str | None:
    """One line about the first of our packages that something else on the path hides, or None."""
    home = Path(__file__).resolve().parents[2]
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
