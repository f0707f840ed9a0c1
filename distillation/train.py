# PYTHON_ARGCOMPLETE_OK
"""From a recipe and a seed to a finished model folder: the command line only.

    python -m distillation.train recipes/student.yaml --seed 0 --out runs/student/seed-0
    torchrun --nproc-per-node 2 -m distillation.train recipes/student.yaml --device cuda

In Python it is `distillation.training.train`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import OneLineParser
from distillation.commands import SAVE_STEPS, add_run_options, run_command

_EPILOG = """\
  python -m distillation.train --list
  python -m distillation.train recipes/teacher.yaml --seed 30
  python -m distillation.train recipes/student.yaml --seed 30 --set optimization.steps=100
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        return run_command("distillation.recipe_yaml:describe_recipes", options, computes=False)
    return run_command("distillation.train_command:run", options)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.train",
        description="Train one recipe with one seed. Run again after an interruption, it goes on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path, nargs="?", help="recipe file, as recipes/student.yaml")
    parser.add_argument("--seed", type=int, default=0, help="items, weights and order (default 0)")
    parser.add_argument("--out", type=Path, help="folder to make (default runs/RECIPE/seed-SEED)")
    parser.add_argument("--teacher", type=Path, help="folder of the teacher, if not beside --out")
    parser.add_argument("--start", type=Path, help="folder of the model to start from")
    parser.add_argument("--max-steps", type=int, help="train shorter; the schedule is fitted to it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as optimization.steps=100"
    )
    parser.add_argument("--save-steps", type=int, default=SAVE_STEPS, help="between checkpoints")
    add_run_options(parser)
    parser.add_argument("--list", action="store_true", help="list the recipes and leave")
    parser.add_argument("--dry-run", action="store_true", help="print the whole recipe and leave")
    return parser


if __name__ == "__main__":
    sys.exit(main())
