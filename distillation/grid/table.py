"""Shows a grid on its way: a table that is rewritten on a terminal, lines elsewhere."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from distillation.folders import run_folder
from distillation.grid.jobs import Progress, read_progress
from distillation.grid.plan import GridRun, Key
from distillation.grid.states import RunState

REFRESH_SECONDS = 0.5

_UP_AND_CLEAR = "\x1b[{n}F\x1b[J"


class Lines:
    """A line for each run that has ended.

    Args:
        report: Called with each line.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    def changed(self, state: RunState, states: Mapping[Key, RunState]) -> None:
        """Write the run's line if it has ended."""
        if state.ended:
            n_ended = sum(other.ended for other in states.values())
            place = f"[{n_ended}/{len(states)}]"
            self._report(f"{place} {state.recipe}, seed {state.seed}: {describe_end(state)}")

    def tick(self, states: Mapping[Key, RunState]) -> None:
        """Nothing."""


class Table:
    """A table of what runs now and what failed, with the time that is left; rewritten in place.

    Args:
        stream: The terminal.
        plan: The runs of the grid.
        folder: Of the runs.
    """

    def __init__(self, stream: TextIO, plan: Sequence[GridRun], folder: Path) -> None:
        self._stream, self._folder = stream, folder
        self._steps = {run.key: run.recipe.optimization.steps for run in plan}
        self._started, self._shown, self._n_lines = time.perf_counter(), 0.0, 0

    def changed(self, state: RunState, states: Mapping[Key, RunState]) -> None:
        """Rewrite the table."""
        self._show(states)

    def tick(self, states: Mapping[Key, RunState]) -> None:
        """Rewrite the table, not more often than the eye needs."""
        if time.perf_counter() - self._shown >= REFRESH_SECONDS:
            self._show(states)

    def _show(self, states: Mapping[Key, RunState]) -> None:
        running = [key for key, state in states.items() if state.state == "running"]
        progress = {key: read_progress(run_folder(self._folder, *key)) for key in running}
        elapsed = time.perf_counter() - self._started
        left = time_left(self._steps, states, progress, elapsed)
        width, height = shutil.get_terminal_size()
        lines = [line[: width - 1] for line in table_lines(states, progress, elapsed, left)]
        lines = lines[: height - 1]
        clear = _UP_AND_CLEAR.format(n=self._n_lines) if self._n_lines else ""
        self._stream.write(clear + "".join(f"{line}\n" for line in lines))
        self._stream.flush()
        self._n_lines, self._shown = len(lines), time.perf_counter()


def table_lines(
    states: Mapping[Key, RunState],
    progress: Mapping[Key, Progress | None],
    elapsed: float,
    left: float | None,
) -> list[str]:
    """The table: what is counted, then a line for each run that runs or has failed."""
    remaining = "" if left is None else f", {duration(left)} left"
    lines = [f"{count_states(states.values())}   {duration(elapsed)}{remaining}"]
    width = max((len(recipe) for recipe, _ in states), default=0)
    for (recipe, seed), state in states.items():
        if state.state == "running":
            said = describe_progress(progress.get((recipe, seed)))
        elif state.state == "failed":
            said = describe_end(state)
        else:
            continue
        lines.append(f"  {recipe:{width}}  {seed:>5}  {said}")
    return lines


def describe_end(state: RunState) -> str:
    """How a run ended, in a few words."""
    if state.state == "done":
        return f"{state.seconds or 0:.0f} s"
    return state.state if state.reason is None else f"{state.state}: {state.reason}"


def describe_progress(progress: Progress | None) -> str:
    """How far a run is, in a few words."""
    if progress is None:
        return "starting"
    done = f"step {progress.step:5} of {progress.n_steps}"
    return f"{done}   loss {progress.loss:.3f}   {duration(progress.seconds)}"


def count_states(states: Iterable[RunState]) -> str:
    """`15 runs: 12 done, 1 failed, ...`, in a fixed order."""
    counts = Counter(state.state for state in states)
    order = ("done", "already finished", "running", "waiting", "failed", "not run")
    said = [f"{counts[name]} {name}" for name in order if counts[name]]
    return f"{sum(counts.values())} runs: {', '.join(said)}"


def time_left(
    steps: Mapping[Key, int],
    states: Mapping[Key, RunState],
    progress: Mapping[Key, Progress | None],
    elapsed: float,
) -> float | None:
    """Seconds until all is done if updates go on at their rate so far; None before the first."""
    begun = {key: 0 if now is None else now.step for key, now in progress.items()}
    trained = sum(steps[key] for key, state in states.items() if state.state == "done")
    trained += sum(begun.values())
    open_runs = [key for key, state in states.items() if not state.ended]
    missing = sum(steps[key] - begun.get(key, 0) for key in open_runs)
    return missing * elapsed / trained if trained else None


def duration(seconds: float) -> str:
    """As 12 s, 3 min or 1 h 20 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
