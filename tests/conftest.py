"""One thread per process: with both cores busy, spinning OpenMP threads cost 50 times."""

import os
from collections.abc import Callable

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Make the next trainings stop before this step, as Ctrl-C would; None lets them run."""
    # Most tests train nothing, and the trainer is slow to import.
    from distillation.trainer import ObjectiveTrainer  # noqa: PLC0415

    original = ObjectiveTrainer.training_step

    def stop_at(step: int | None) -> None:
        def training_step(self: ObjectiveTrainer, *args: object, **kwargs: object) -> object:
            if self.state.global_step == step:
                raise KeyboardInterrupt
            return original(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(ObjectiveTrainer, "training_step", training_step)

    return stop_at
