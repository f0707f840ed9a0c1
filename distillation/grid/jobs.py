"""One run of a grid as it is handed to a worker, and what comes back.

A worker tells how far it is by a small file in the working folder of the run, so that processes of
this machine and of a cluster are watched alike.
"""

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from transformers.utils import logging as transformers_logging

from behavior.errors import CircuitsError
from distillation.folders import partial_folder, run_folder, write_json
from distillation.grid.plan import GridRun, Key
from distillation.options import RunOptions
from distillation.training import train

PROGRESS = "progress.json"
LOG_SUFFIX = ".log"

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A run with its place and how it is run.

    Attributes:
        run: What is trained.
        runs: Folder that becomes `RUNS/<recipe>/seed-<K>`.
        options: How it is run.
        save_steps: Updates between checkpoints.
    """

    run: GridRun
    runs: Path
    options: RunOptions
    save_steps: int

    @property
    def out(self) -> Path:
        """Where the finished folder will be."""
        return run_folder(self.runs, *self.run.key)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        key: Of the run.
        seconds: That it took now.
        reason: Why it failed; None if it did not.
    """

    key: Key
    seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Updates done.
        n_steps: Updates in all.
        loss: Mean since the last time.
        seconds: Of training, those before an interruption included.
    """

    step: int
    n_steps: int
    loss: float
    seconds: float


@runtime_checkable
class Workers(Protocol):
    """Those who train the runs of a grid."""

    @property
    def n_jobs(self) -> int:
        """How many jobs are taken at a time."""
        ...

    def start(self, job: Job) -> None:
        """Take a job; not called with more than `n_jobs` of them unfinished."""
        ...

    def wait(self, seconds: float, tick: Tick) -> list[Outcome]:
        """Wait at most so long for jobs to end; a worker that blocks calls `tick` meanwhile."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


def work(job: Job, tick: Tick | None = None) -> Outcome:
    """Train one run on one thread; whatever goes wrong becomes the reason of the outcome."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    started = time.perf_counter()

    def follow(step: int, n_steps: int, loss: float, seconds: float) -> None:
        said = {"step": step, "n_steps": n_steps, "loss": loss, "seconds": seconds}
        write_json(partial_folder(job.out) / PROGRESS, said)
        if tick is not None:
            tick()

    reason = None
    try:
        train(
            job.run.recipe,
            job.run.seed,
            job.out,
            save_steps=job.save_steps,
            options=job.options,
            progress=follow,
        )
    except CircuitsError as error:
        reason = str(error)
    except Exception as error:
        log = job.out.with_name(f"{job.out.name}{LOG_SUFFIX}")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())} (see {log})"
    return Outcome(job.run.key, time.perf_counter() - started, reason)


def read_progress(out: Path) -> Progress | None:
    """How far an unfinished run is; None before its first sign."""
    try:
        said = json.loads((partial_folder(out) / PROGRESS).read_text())
        return Progress(**cast(dict[str, float], said))  # pyright: ignore[reportArgumentType]
    except (OSError, ValueError, TypeError):
        return None
