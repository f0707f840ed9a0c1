"""Workers on this machine: this very process, or several fresh ones with one thread each."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from distillation.grid.jobs import Job, Outcome, Tick, work

RETRIES = 2
"""How often a run whose process was killed is taken up again, from its last checkpoint."""


class InProcess:
    """Trains one run after the other where it is called."""

    n_jobs = 1

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def start(self, job: Job) -> None:
        """Keep the job until `wait`."""
        self._jobs.append(job)

    def wait(self, seconds: float, tick: Tick) -> list[Outcome]:
        """Train what was started, however long it takes."""
        jobs, self._jobs = self._jobs, []
        return [work(job, tick) for job in jobs]

    def close(self) -> None:
        """Nothing is left running."""


@dataclass(slots=True)
class _Worker:
    """A process, our end of its pipe, its job, and how often that job was begun."""

    process: SpawnProcess
    pipe: Connection
    job: Job | None = None
    attempts: int = 0


class LocalWorkers:
    """Several processes, each training one run at a time; one that is killed is replaced.

    Args:
        n_jobs: Number of processes, made when they are needed.
    """

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs = n_jobs
        self._workers: list[_Worker] = []

    @property
    def n_jobs(self) -> int:
        """Number of processes."""
        return self._n_jobs

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that are at work."""
        return [cast(int, w.process.pid) for w in self._workers if w.job is not None]

    def start(self, job: Job) -> None:
        """Give the job to a process that has none."""
        idle = next((worker for worker in self._workers if worker.job is None), None)
        if idle is not None and not idle.process.is_alive():
            self._workers.remove(idle)
            idle = None
        self._give(idle or self._hire(), job, attempts=1)

    def wait(self, seconds: float, tick: Tick) -> list[Outcome]:
        """Outcomes that arrive in time; a job whose process was killed is begun again."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        ready = cast(Sequence[Connection], wait(list(busy), seconds))
        outcomes = [self._receive(busy[pipe]) for pipe in ready]
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """End the processes; those at work leave their checkpoints."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _hire(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = cast(tuple[Connection, Connection], context.Pipe())
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, job: Job, attempts: int) -> None:
        worker.job, worker.attempts = job, attempts
        worker.pipe.send(job)

    def _receive(self, worker: _Worker) -> Outcome | None:
        job, attempts = worker.job, worker.attempts
        assert job is not None, "only workers with a job are listened to"
        try:
            outcome = cast(Outcome, worker.pipe.recv())
        except (EOFError, ConnectionResetError):
            return self._replace(worker, job, attempts)
        worker.job = None
        return outcome

    def _replace(self, worker: _Worker, job: Job, attempts: int) -> Outcome | None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if attempts <= RETRIES:
            self._give(self._hire(), job, attempts + 1)
            return None
        reason = f"its process ended with {worker.process.exitcode}, {attempts} times"
        return Outcome(job.run.key, 0.0, reason)


def _serve(pipe: Connection) -> None:
    try:
        while True:
            pipe.send(work(cast(Job, pipe.recv())))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return
