"""What models are asked, how answers are scored, how certain we are."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from behavior.examples import Example, ImageInput, Pairs, Quad, Task, TextInput
    from behavior.tasks import load_task, open_examples

__all__ = [
    "Example",
    "ImageInput",
    "Pairs",
    "Quad",
    "Task",
    "TextInput",
    "load_task",
    "open_examples",
]

_HOME = {"load_task": "tasks", "open_examples": "tasks"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `--help` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'examples')}"), name)
