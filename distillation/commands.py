"""What the command lines of this package share."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from behavior.errors import CircuitsError

RECIPES = Path("recipes")
RUNS = Path("runs")


def run_command(command: Callable[[], int]) -> int:
    """Run a command on one thread; what a user can mend becomes one line and exit code 2.

    Ctrl-C gives 130. Any other error is a defect of ours and keeps its traceback.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    # Models this small are slower on several threads, and the order of sums would differ.
    torch.set_num_threads(1)
    try:
        return command()
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
