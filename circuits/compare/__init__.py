"""Compare a teacher with its student, and write down what was found."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circuits.compare.comparison import Comparison
    from circuits.compare.config import ComparisonConfig
    from circuits.compare.pipeline import compare_models
    from circuits.compare.several.ranking import rank_students

__all__ = ["Comparison", "ComparisonConfig", "compare_models", "rank_students"]

_HOME = {
    "Comparison": "comparison",
    "ComparisonConfig": "config",
    "compare_models": "pipeline",
    "rank_students": "several.ranking",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
