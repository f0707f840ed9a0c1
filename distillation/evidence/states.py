"""Which runs there are and which are missing, with the reason: failures are evidence too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distillation.evidence.choice import ALL, Choice
from distillation.grid.plan import Key
from distillation.grid.states import GRIDS, read_states

MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What is known of one run.

    Attributes:
        recipe: Name of its recipe.
        seed: What it was to be trained with.
        state: `measured`, `failed`, `not run`, `unfinished`, or `not measured`.
        reason: Why it is not measured; empty if it is.
    """

    recipe: str
    seed: int
    state: str
    reason: str = ""


def run_states(
    runs: Path,
    measured: Iterable[Key],
    unmeasured: Mapping[Key, str],
    choice: Choice = ALL,
) -> list[RunStatus]:
    """Every run that stands in a folder, was begun there, or was asked for.

    Args:
        runs: Folder of the runs.
        measured: Those that were measured.
        unmeasured: Why others that stand could not be measured.
        choice: Those that count; what it asks for and nobody has begun is told as missing.
    """
    found = {key: RunStatus(*key, MEASURED) for key in measured}
    for key, reason in unmeasured.items():
        found[key] = RunStatus(*key, "not measured", reason)
    for path in sorted((runs / GRIDS).glob("*.json")):
        for state in read_states(path):
            key = state.recipe, state.seed
            if state.state in ("failed", "not run"):
                found.setdefault(key, RunStatus(*key, state.state, state.reason or ""))
            else:
                found.setdefault(key, RunStatus(*key, "unfinished", "the grid has not trained it"))
    for key in _begun(runs):
        found.setdefault(key, RunStatus(*key, "unfinished", "the training was interrupted"))
    for key in choice.asked or ():
        found.setdefault(key, RunStatus(*key, "not run", "nobody has begun it"))
    chosen = [status for key, status in found.items() if key in choice]
    return sorted(chosen, key=lambda status: (status.recipe, status.seed))


def _begun(runs: Path) -> list[Key]:
    names = [(path.parent.name, path.name) for path in runs.glob("*/seed-*.partial")]
    seeds = [
        (recipe, name.removeprefix("seed-").removesuffix(".partial")) for recipe, name in names
    ]
    return [(recipe, int(seed)) for recipe, seed in seeds if seed.isdecimal()]
