"""Several recipes with several seeds as one graph of runs, trained here or on a Ray cluster."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distillation.grid.files import load_grid
    from distillation.grid.plan import GridRun, in_order, parse_seeds, plan_runs
    from distillation.grid.schedule import Schedule, train_grid

__all__ = ["GridRun", "Schedule", "in_order", "load_grid", "parse_seeds", "plan_runs", "train_grid"]

_HOME = {
    "GridRun": "plan",
    "Schedule": "schedule",
    "in_order": "plan",
    "load_grid": "files",
    "parse_seeds": "plan",
    "plan_runs": "plan",
    "train_grid": "schedule",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
