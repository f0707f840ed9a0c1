"""Tasks by name, and from a file of one's own.

    load_task("nli-overlap", rho=0.99)                      the embedded grammar, of any size
    load_task("hans", path=...), "mnli", "snli", "nli"      labelled examples
    load_task("hans-quads", path=...)                       quads made from the pairs of HANS
    load_task("pairs", path=...), "quads"                   aligned inputs, JSON lines or CSV
    load_task("datasets", path=...)                         a Hugging Face folder or hub name
    load_task("digits", rho=0.99)                           coloured digits, of any size
    load_task("wilds", path=...)                            images with a confounder, in groups
    load_task("mixture", parts=[...])                       training items from several of these

`open_examples(path)` finds out by itself what a file holds.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from behavior.digits import DigitsTask
from behavior.errors import DataError
from behavior.examples import CELLS, Task
from behavior.files import is_pair, is_quad, read_pairs, read_quads
from behavior.grammar import GrammarTask
from behavior.mixture import MixtureTask
from behavior.nli import is_hans, is_labelled, read_dataset, read_hans, read_hans_quads, read_nli
from behavior.rows import read_rows
from behavior.wilds import METADATA, has_groups, read_wilds


def _mix(parts: Sequence[Mapping[str, object]]) -> MixtureTask:
    return MixtureTask(parts, load_task)


_READERS: dict[str, Callable[..., Task[Any]]] = {
    "nli-overlap": GrammarTask,
    "hans": read_hans,
    "hans-quads": read_hans_quads,
    "mnli": partial(read_nli, name="mnli"),
    "snli": partial(read_nli, name="snli"),
    "nli": partial(read_nli, name="nli"),
    "pairs": read_pairs,
    "quads": read_quads,
    "datasets": read_dataset,
    "digits": DigitsTask,
    "wilds": read_wilds,
    "mixture": _mix,
}


@overload
def load_task(name: Literal["nli-overlap"], *, rho: float = ...) -> GrammarTask: ...
@overload
def load_task(
    name: Literal["digits"],
    *,
    rho: float = ...,
    classes: Sequence[int] = ...,
    path: str | Path | None = ...,
) -> DigitsTask: ...
@overload
def load_task(name: str, **options: object) -> Task[Any]: ...
def load_task(name: str, **options: object) -> Task[Any]:
    """The task of this name; the options are those of its reader (`path`, `rho`, `classes`).

    Raises:
        DataError: If there is no such task, an option does not fit, or the source is unusable.
    """
    if name not in _READERS:
        raise DataError(f"Unknown task {name!r}. Expected one of: {', '.join(_READERS)}.")
    reader = _READERS[name]
    parameters = inspect.signature(reader).parameters
    allowed = [option for option in parameters if option != "name"]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise DataError(
            f"Task {name!r} has no option {unknown[0]!r}. Expected: {', '.join(allowed)}."
        )
    if "path" not in allowed:
        return reader(**options)
    default = parameters["path"].default
    path = options.pop("path", default)
    if path is None and default is None:
        return reader(**options)
    if not isinstance(path, str | Path):
        raise DataError(f"Task {name!r} is read from a source. Say which: path=...")
    source = str(path) if name == "datasets" else Path(path).expanduser()
    return reader(path=source, **options)


def open_examples(path: str | Path) -> Task[Any]:
    """The task in a file of quads, pairs, HANS rows or labelled examples, or in a folder.

    The first row decides; the whole file is then read as that kind. A folder is WILDS-style if
    its `metadata.csv` has groups, and otherwise a data set.

    Raises:
        DataError: If the file is none of these, or a row of it is broken.
    """
    source = Path(path).expanduser()
    if source.is_dir():
        metadata = source / METADATA
        if metadata.is_file() and has_groups(next(read_rows(metadata))):
            return read_wilds(source)
        return read_dataset(str(source))
    first = next(read_rows(source))
    for matches, reader in (
        (has_groups, read_wilds),
        (is_quad, read_quads),
        (is_pair, read_pairs),
        (is_hans, read_hans),
        (is_labelled, read_nli),
    ):
        if matches(first):
            return reader(source)
    raise first.error(
        f"has {first.columns()}. Expected a pair (clean, corrupted, label, foil), a quad "
        f"({', '.join(CELLS)}, label, foil), a HANS row, or premise, hypothesis and label."
    )
