"""What the command lines of this package share, without torch, so that `--help` stays quick."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Literal, get_args

from behavior.errors import CircuitsError

RECIPES = Path("recipes")
RUNS = Path("runs")
SAVE_STEPS = 250

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]

FULL: Precision = "fp32"


def run_command(command: str, options: argparse.Namespace, *, computes: bool = True) -> int:
    """Run a command; what a user can mend becomes one line and exit code 2.

    Ctrl-C gives 130. Any other error is a defect of ours and keeps its traceback.

    Args:
        command: Module and function, such as `distillation.train_command:run`; imported here.
        options: What the function is given.
        computes: Whether torch is needed; it is then kept to one thread.
    """
    try:
        if computes:
            _compute_on_one_thread()
        module, _, function = command.partition(":")
        code: int = getattr(import_module(module), function)(options)
        return code
    except CircuitsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(
            f"error: {error.strerror}: {error.filename}. Free it, or choose another folder.\n"
        )
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last checkpoint\n")
        return 130


def _compute_on_one_thread() -> None:
    """Models this small are slower on several threads, and the order of sums would differ."""
    import torch  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Give a command line the options of a run."""
    parser.add_argument(
        "--device", choices=get_args(Device), default="cpu", help="auto takes a GPU (default cpu)"
    )
    parser.add_argument(
        "--precision", choices=get_args(Precision), default=FULL, help=f"default {FULL}"
    )
    parser.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="split each batch into N parts"
    )
    parser.add_argument(
        "--report-to", default="none", metavar="NAMES", help="as tensorboard (default none)"
    )
