# PYTHON_ARGCOMPLETE_OK
"""What trained models do, over all seeds of their recipes.

    python -m distillation.evidence runs --out docs/evidence

1. Every finished folder `RUNS/<recipe>/seed-<K>` answers the same test quads and, for accuracy
   in the domain, the same test examples.
2. `runs.csv` keeps each run, `intervals.csv` the t interval of each recipe's mean over seeds and
   the prediction interval for one further seed; `evidence.md` shows both, and the differences
   between recipes seed by seed.
3. `evidence.html`, `evidence.tex` and CSV files hold the claims C1 and C2 with intervals over seeds
   and over examples, retention, each type of bias, agreement, and every run that a grid asked for
   with what became of it.
4. The seed to bundle is that of the median erosion of the spurious share, not the prettiest; of
   several families of recipes (`vit-teacher`, `resnet-teacher`), each has its own.

`--check FOLDER` measures one further model and says whether it lies within the prediction
intervals that were published.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import OneLineParser
from distillation.commands import run_command
from distillation.evidence import N_QUADS, QUADS_SEED

_EPILOG = """\
  python -m distillation.evidence runs --out runs/evidence
  python -m distillation.evidence runs --task digits --recipes vit-teacher,vit-student
  python -m distillation.evidence runs --grid recipes/grids/remedies.yaml --seeds 40-42
  python -m distillation.evidence --check runs/student/seed-25
  python -m distillation.evidence runs --task hans-quads --examples hans.txt --labelled snli.tsv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    return run_command("distillation.evidence.command:run", _parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m distillation.evidence",
        description="Measure finished runs on the same test quads and write tables over seeds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="RUNS", help="folder of the runs (default runs)"
    )
    parser.add_argument("--runs", type=Path, help="the same")
    parser.add_argument("--recipes", help="names, separated by commas (default all there are)")
    parser.add_argument("--seeds", help="of the runs, as 20-24 or 1,2,3 (default all there are)")
    parser.add_argument(
        "--grid", type=Path, metavar="FILE", help="the runs of a grid file; tells the missing ones"
    )
    parser.add_argument("--task", default="nli-overlap", help="source of the test quads")
    parser.add_argument("--examples", type=Path, metavar="FILE", help="file that the task reads")
    parser.add_argument(
        "--labelled",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="labelled examples to ask as well, by group; may be repeated",
    )
    parser.add_argument(
        "--two-way", action="store_true", help="neutral and contradiction are non-entailment"
    )
    parser.add_argument("--quads", type=int, default=N_QUADS, help=f"number (default {N_QUADS})")
    parser.add_argument("--seed", type=int, default=QUADS_SEED, help="of the test quads")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="folder of tables")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="compare one further model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
