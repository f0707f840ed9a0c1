# PYTHON_ARGCOMPLETE_OK
"""Trains a grid of recipes and seeds; the command line.

    python -m distillation.grid recipes/grids/nli-methods.yaml --workers 2
    python -m distillation.grid recipes --recipes student,student-plain --seeds 20-24 --runs runs
    python -m distillation.grid recipes/grids/digits.yaml --ray auto

Every run comes after those whose models it needs, and these are added where they were not named.
Finished runs are skipped, an interrupted one goes on, so the same command again does what is left.
A run that fails stops no other; the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import OneLineParser
from distillation.commands import RECIPES, RUNS, SAVE_STEPS, add_run_options, run_command

_EPILOG = """\
  python -m distillation.grid recipes/grids/nli-methods.yaml --workers 2
  python -m distillation.grid recipes --recipes student,student-plain --seeds 20-24 --runs runs
  python -m distillation.grid recipes/grids/digits.yaml --ray auto
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command("distillation.grid.command:run", _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.grid",
        description="Train a grid of recipes and seeds, each run after those whose models it "
        "needs. Finished runs are skipped, an interrupted one goes on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "grid", type=Path, nargs="?", default=RECIPES, help="grid file, or folder of recipes"
    )
    parser.add_argument("--recipes", help="names, separated by commas (default all)")
    parser.add_argument("--seeds", help="as 20-24 or 1,2,3 (default those of the file, or 0)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default runs)")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time (default 1)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="train on a Ray cluster; local starts one here"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="laid over all recipes"
    )
    parser.add_argument("--save-steps", type=int, default=SAVE_STEPS, help="between checkpoints")
    add_run_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="list the runs and leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
