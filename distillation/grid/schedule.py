"""Trains the runs of a grid as soon as the models they need are there.

1. A run is ready when its parents are done. One that already stands finished, made by the same
   recipe, seed and parents, is skipped.
2. Ready runs go to workers in the order of the plan.
3. A run that fails stops no other; what depends on it is not run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Protocol, runtime_checkable

from behavior.errors import CircuitsError, ResultError
from distillation.commands import SAVE_STEPS
from distillation.folders import find_parents, is_finished, run_folder
from distillation.grid.jobs import Job, Outcome, Workers
from distillation.grid.local import InProcess
from distillation.grid.plan import GridRun, Key, plan_runs
from distillation.grid.states import RunState, State, blame, write_states
from distillation.grid.table import Lines
from distillation.options import RunOptions
from distillation.recipe import Recipe
from distillation.training import training_request

POLL_SECONDS = 1.0

States = dict[Key, RunState]


@runtime_checkable
class Watcher(Protocol):
    """Shows what becomes of the runs."""

    def changed(self, state: RunState, states: Mapping[Key, RunState]) -> None:
        """One run has another state than before."""
        ...

    def tick(self, states: Mapping[Key, RunState]) -> None:
        """Time has passed."""
        ...


class Silent:
    """Shows nothing."""

    def changed(self, state: RunState, states: Mapping[Key, RunState]) -> None:
        """Nothing."""

    def tick(self, states: Mapping[Key, RunState]) -> None:
        """Nothing."""


class Schedule:
    """A grid on its way.

    Args:
        plan: The runs; what they need besides must stand in the folder.
        folder: Of the runs.
        workers: Who trains them.
        options: How they are run.
        save_steps: Updates between checkpoints.
        states_path: Where the states are kept; None keeps them nowhere.
        watcher: Who is told.
    """

    def __init__(
        self,
        plan: Sequence[GridRun],
        folder: Path,
        workers: Workers,
        *,
        options: RunOptions | None = None,
        save_steps: int = SAVE_STEPS,
        states_path: Path | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.runs = {run.key: run for run in plan}
        self.states: States = {key: RunState(*key) for key in self.runs}
        self._place = {key: i for i, key in enumerate(self.runs)}
        self._folder, self._workers = folder.absolute(), workers
        self._options, self._save_steps = options or RunOptions(), save_steps
        self._states_path, self._watcher = states_path, watcher or Silent()
        self._graph: TopologicalSorter[Key] = TopologicalSorter()
        for run in plan:
            self._graph.add(run.key, *(parent for parent in run.parents if parent in self.runs))

    def run(self) -> States:
        """Train everything that can be trained; returns what has become of each run."""
        self._graph.prepare()
        ready: list[Key] = []
        running: set[Key] = set()
        self._keep()
        while True:
            ready = sorted([*ready, *self._next_ready()], key=self._place.__getitem__)
            while ready and len(running) < self._workers.n_jobs:
                running.add(ready[0])
                self._start(ready.pop(0))
            if not running:
                break
            for outcome in self._workers.wait(POLL_SECONDS, self._tick):
                running.discard(outcome.key)
                self._end(outcome)
            self._tick()
        self._leave_the_rest()
        return self.states

    def _next_ready(self) -> list[Key]:
        """Runs whose parents are done; those that stand already are let through at once."""
        found: list[Key] = []
        while fresh := self._graph.get_ready():
            found += [key for key in fresh if not self._is_settled(key)]
        return found

    def _is_settled(self, key: Key) -> bool:
        """Whether a run stands finished already, or cannot be begun."""
        job = self._job(key)
        try:
            folders = find_parents(job.run.recipe, job.run.seed, job.out, {})
            request = training_request(job.run.recipe, job.run.seed, folders)
            if not is_finished(job.out, request):
                return False
        except CircuitsError as error:
            self._set(key, "failed", str(error))
            return True
        self._set(key, "already finished")
        self._graph.done(key)
        return True

    def _start(self, key: Key) -> None:
        self._set(key, "running")
        self._workers.start(self._job(key))

    def _end(self, outcome: Outcome) -> None:
        if outcome.reason is None:
            self._set(outcome.key, "done", seconds=outcome.seconds)
            self._graph.done(outcome.key)
        else:
            self._set(outcome.key, "failed", outcome.reason, outcome.seconds)

    def _leave_the_rest(self) -> None:
        for key, state in self.states.items():
            if not state.ended:
                reason = f"needs {blame(self.runs[key], self.runs, self.states)}, which failed"
                self._set(key, "not run", reason)

    def _set(
        self, key: Key, state: State, reason: str | None = None, seconds: float | None = None
    ) -> None:
        changed = replace(self.states[key], state=state, reason=reason, seconds=seconds)
        self.states[key] = changed
        self._keep()
        self._watcher.changed(changed, self.states)

    def _keep(self) -> None:
        if self._states_path is not None:
            write_states(self._states_path, self.states.values())

    def _tick(self) -> None:
        self._watcher.tick(self.states)

    def _job(self, key: Key) -> Job:
        return Job(self.runs[key], self._folder, self._options, self._save_steps)


def train_grid(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    runs: Path,
    *,
    report: Callable[[str], None] | None = None,
) -> list[Path]:
    """Train recipes with every seed in this process; folders in the order of training.

    Args:
        recipes: Given parents first, as `in_order` gives them.
        seeds: Each trains all recipes before the next.
        runs: Folder that becomes `RUNS/<recipe>/seed-<K>`.
        report: Called with a line after each run.

    Raises:
        ResultError: If a run fails; the others that do not need it are trained.
    """
    plan = plan_runs(recipes, seeds)
    watcher = Silent() if report is None else Lines(report)
    for state in Schedule(plan, runs, InProcess(), watcher=watcher).run().values():
        if state.state == "failed":
            raise ResultError(f"{state.recipe}, seed {state.seed}: {state.reason}")
    return [run_folder(runs, *run.key) for run in plan]
