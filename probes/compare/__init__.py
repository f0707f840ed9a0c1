"""Two models side by side: what is represented at each stage, and where attention goes."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.compare.measuring import Findings
    from probes.compare.result import stage_uses
    from probes.compare.running import compare_representations

__all__ = ["Findings", "compare_representations", "stage_uses"]

_HOME = {"Findings": "measuring", "compare_representations": "running", "stage_uses": "result"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
