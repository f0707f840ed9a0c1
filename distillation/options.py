"""How a training is run: device, precision, accumulation and where its curves are reported.

None of it belongs to a recipe. In 32 bits and without batch norm, a run on several processes, or
with accumulation, ends with the weights of the plain one up to rounding, as long as the loss is a
mean over items; half precision changes the weights. The record of a run says which options it had.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import cast

import torch
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.commands import FULL, Device, Precision


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a training is run; everything that decides what is trained is in its recipe.

    Attributes:
        device: `auto` takes a GPU if there is one; on `cpu` all machines of one kind agree.
        precision: Of the forward and backward pass; weights and AdamW stay in 32 bits.
        accumulate: Parts that each batch is split into, one after the other, to save memory.
        report_to: Trackers that are told the losses, by the names that transformers gives them.
    """

    device: Device = "cpu"
    precision: Precision = FULL
    accumulate: int = 1
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.accumulate >= 1, "accumulate", "at least 1", self.accumulate)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise RecipeError("device is cuda, but torch sees no GPU. Choose cpu or auto.")
        if self.precision == "fp16" and self.on_cpu:
            raise RecipeError("precision is fp16, but a CPU trains in fp32 or bf16. Choose bf16.")
        for name in self.report_to:
            _require_tracker(name)

    @property
    def on_cpu(self) -> bool:
        """Whether the training runs without a GPU."""
        return self.device == "cpu" or not torch.cuda.is_available()

    def part_of_batch(self, batch_size: int) -> int:
        """Items of one forward pass of one process, so that all together are the recipe's batch.

        Raises:
            RecipeError: If the batch cannot be split evenly.
        """
        n_parts = n_processes() * self.accumulate
        if batch_size % n_parts:
            raise RecipeError(
                f"optimization.batch_size is {batch_size}, which cannot be split evenly over "
                f"{n_processes()} processes with {self.accumulate} parts each. Choose numbers "
                "whose product divides it."
            )
        return batch_size // n_parts

    def to_json(self) -> dict[str, object]:
        """The options with the device that was found and the number of processes."""
        device = "cpu" if self.on_cpu else torch.cuda.get_device_name()
        return {
            **asdict(self),
            "report_to": list(self.report_to),
            "device": device,
            "processes": n_processes(),
        }


def n_processes() -> int:
    """Processes that train together, as torchrun and accelerate say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process writes the folders; the only one does."""
    return int(os.environ.get("RANK", "0")) == 0


def read_run_options(options: argparse.Namespace) -> RunOptions:
    """What was given for `add_run_options`.

    Raises:
        RecipeError: If an option cannot be used here.
    """
    return RunOptions(
        cast(Device, options.device),
        cast(Precision, options.precision),
        cast(int, options.accumulate),
        _parse_trackers(options.report_to),
    )


def _parse_trackers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def _require_tracker(name: str) -> None:
    known: Sequence[str] = sorted(INTEGRATION_TO_CALLBACK)
    if name not in known:
        raise RecipeError(f"report_to must be none or one of {', '.join(known)}, got {name!r}.")
    if name not in get_available_reporting_integrations():
        raise RecipeError(f"report_to is {name!r}, but it is not installed. Install it first.")
