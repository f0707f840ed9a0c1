"""`python -m circuits.summarize RUN [RUN ...]`: options, folder, and what is said."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import DONE, OneLineParser, guarded, quieten

DEFAULT = Path("runs") / "recipe"

_EPILOG = """\
One run a seed, each written by `python -m circuits.compare`; the same settings in all of them.

  python -m circuits.summarize runs/seed-20 runs/seed-21 runs/seed-22
  python -m circuits.summarize runs/seed-* --out runs/recipe-student --overwrite
"""


def summarize_command(arguments: Sequence[str] | None = None) -> int:
    """Pool the runs, store, and print a table; 0 is done, 2 is for the user to mend."""
    return guarded(lambda: _run(arguments))


def build_parser() -> OneLineParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.summarize",
        description="Pool comparisons of several seeds of one recipe into one verdict about the "
        "recipe. Writes summary.json and summary.html.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="written by circuits.compare, one a seed"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=DEFAULT, help=f"default: {DEFAULT}"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older summary")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    quieten()
    # numpy and scipy take a second: a mistyped option is answered before them.
    from behavior.staging import staged_folder, writing  # noqa: PLC0415
    from circuits.compare.page.scripts import copy_plotly  # noqa: PLC0415
    from circuits.compare.recipe.comparable import read_runs  # noqa: PLC0415
    from circuits.compare.recipe.lines import recipe_lines  # noqa: PLC0415
    from circuits.compare.recipe.page import render_recipe  # noqa: PLC0415
    from circuits.compare.recipe.summary import PAGE, SUMMARY, summarize  # noqa: PLC0415

    folder: Path = options.out
    with staged_folder(folder, options.overwrite, (SUMMARY, "a summary of a recipe")) as stage:
        stored = summarize(read_runs(options.runs))
        with writing(folder):
            written = json.dumps(stored, indent=1, ensure_ascii=False, allow_nan=False)
            (stage / SUMMARY).write_text(written + "\n", encoding="utf-8")
            (stage / PAGE).write_text(render_recipe(stored), encoding="utf-8")
            copy_plotly(stage)
    if options.json:
        sys.stdout.write(json.dumps(stored, allow_nan=False) + "\n")
    else:
        lines = [*recipe_lines(stored), "", f"Page: {folder / PAGE}"]
        sys.stdout.write("\n".join(lines) + "\n")
    return DONE
