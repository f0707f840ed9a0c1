"""What has become of each run of a grid, kept in a file so that failures are not forgotten.

`RUNS/grids/<name>.json` lists every run that was ever asked for under that name, with its state
and, where it did not end well, the reason; `distillation.evidence` puts them into its tables.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from behavior.errors import ResultError
from distillation.folders import write_json
from distillation.grid.plan import GridRun, Key

State = Literal["waiting", "running", "done", "already finished", "failed", "not run"]

GRIDS = "grids"
SCHEMA_VERSION = 1

_ENDED: tuple[State, ...] = ("done", "already finished", "failed", "not run")


@dataclass(frozen=True, slots=True)
class RunState:
    """What has become of a run.

    Attributes:
        recipe: Name of its recipe.
        seed: What it is trained with.
        state: How far it is.
        reason: Why it failed or was not run, else None.
        seconds: That it took when it was last begun; None if it was not.
    """

    recipe: str
    seed: int
    state: State = "waiting"
    reason: str | None = None
    seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in _ENDED

    @property
    def is_whole(self) -> bool:
        """Whether its folder stands."""
        return self.state in ("done", "already finished")


def states_file(runs: Path, name: str) -> Path:
    """Where the states of a grid are kept."""
    return runs / GRIDS / f"{name}.json"


def write_states(path: Path, states: Iterable[RunState]) -> None:
    """Write the states, keeping those of runs that were asked for earlier and are not now."""
    known: dict[Key, RunState] = {}
    if path.is_file():
        known = {(state.recipe, state.seed): state for state in read_states(path)}
    known |= {(state.recipe, state.seed): state for state in states}
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [asdict(state) for state in known.values()]
    write_json(path, {"schema_version": SCHEMA_VERSION, "runs": rows})


def read_states(path: Path) -> list[RunState]:
    """What `write_states` wrote.

    Raises:
        ResultError: If the file cannot be read.
    """
    try:
        rows = json.loads(path.read_text())["runs"]
        return [RunState(**row) for row in cast(list[dict[str, object]], rows)]  # pyright: ignore[reportArgumentType]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{path} cannot be read as the states of a grid ({error}). Remove it; the grid writes "
            "it again."
        ) from None


def blame(run: GridRun, runs: Mapping[Key, GridRun], states: Mapping[Key, RunState]) -> str:
    """Which failed run one depends on that was not run."""
    for parent in run.parents:
        state = states.get(parent)
        if state is None or state.is_whole:
            continue
        return str(runs[parent]) if state.state == "failed" else blame(runs[parent], runs, states)
    return "nothing"
