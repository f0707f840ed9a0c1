"""What trained models do, over all seeds of their recipes; `python -m distillation.evidence`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distillation.evidence.gathering import finished_folders, gather, outside
    from distillation.evidence.measured import HeldOutData, measure_run

__all__ = ["HeldOutData", "finished_folders", "gather", "measure_run", "outside"]

N_QUADS = 1000
QUADS_SEED = 20_000
"""Test quads that nobody looked at while settings were chosen."""

_HOME = {
    "HeldOutData": "measured",
    "finished_folders": "gathering",
    "gather": "gathering",
    "measure_run": "measured",
    "outside": "gathering",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
