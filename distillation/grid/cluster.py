"""Workers of a Ray cluster: the same runs, wherever Ray has a free CPU (or GPU).

All machines need this package and see the folder of the runs under the same path. A run whose
worker or machine is lost is begun again by Ray and goes on from its last checkpoint.
"""

import time
from typing import Any

from behavior.errors import RecipeError
from distillation.grid.jobs import Job, Outcome, Tick, work
from distillation.grid.local import RETRIES

LOCAL = "local"
"""Address that starts a cluster of this machine alone."""

_MANY = 10_000


class RayWorkers:
    """Gives each run that can be trained to a Ray cluster, which decides where and when.

    Args:
        address: Of the cluster, as `ray.init` takes it; `local` starts one here.
        n_local: CPUs of a cluster that is started here.
        gpu: Whether each run takes a GPU.

    Raises:
        RecipeError: If Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, n_local: int, *, gpu: bool = False) -> None:
        self._ray = _connect(address, n_local)
        needs = {"num_cpus": 1, "num_gpus": int(gpu), "max_retries": RETRIES}
        self._task = self._ray.remote(**needs)(work)
        self._running: dict[Any, tuple[Job, float]] = {}

    @property
    def n_jobs(self) -> int:
        """As many as there are: Ray keeps those waiting that it has no room for."""
        return _MANY

    def start(self, job: Job) -> None:
        """Submit the job."""
        self._running[self._task.remote(job)] = job, time.perf_counter()

    def wait(self, seconds: float, tick: Tick) -> list[Outcome]:
        """Outcomes that arrive in time."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._receive(reference) for reference in ready]

    def close(self) -> None:
        """Cancel what still runs and leave the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()

    def _receive(self, reference: Any) -> Outcome:
        job, started = self._running.pop(reference)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            words = str(error).strip().splitlines() or [""]
            reason = f"{type(error).__name__}: {words[0]}"
            return Outcome(job.run.key, time.perf_counter() - started, reason)


def _connect(address: str, n_local: int) -> Any:
    try:
        # Several seconds and many processes: only for those who ask for it.
        import ray  # noqa: PLC0415
    except ImportError:
        raise RecipeError(
            "--ray needs the package ray. Install debias-circuits[ray], or leave --ray out."
        ) from None
    n_cpus = n_local if address == LOCAL else None
    try:
        ray.init(address, num_cpus=n_cpus, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise RecipeError(
            f"There is no Ray cluster at {address!r} ({said[0]}). Start one, or give --ray local."
        ) from None
    return ray
