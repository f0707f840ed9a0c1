"""What computes it (one model), and how two models differ (`circuits.compare`)."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circuits.circuit import Circuit
    from circuits.discovery.search import discover
    from circuits.faithfulness import faithfulness

__all__ = ["Circuit", "discover", "faithfulness"]

_HOME = {"Circuit": "circuit", "discover": "discovery.search", "faithfulness": "faithfulness"}


class _Package(ModuleType):
    """Two public functions have the names of modules; the functions are what users get."""

    def __setattr__(self, name: str, value: object) -> None:
        """Leave out what the import system would bind over a public name."""
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


sys.modules[__name__].__class__ = _Package
