"""Draws the page and the heatmaps of a stored comparison again, for `python -m circuits.report`."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import OneLineParser
from behavior.errors import CircuitsError


def redraw_command(arguments: Sequence[str] | None = None) -> int:
    """Read the folder, draw, and say where the page is."""
    folder: Path = build_parser().parse_args(arguments).folder
    # numpy, scipy and plotly take a second: a mistyped option is answered before them.
    from behavior.staging import writing  # noqa: PLC0415
    from circuits.compare.comparison import Comparison  # noqa: PLC0415
    from circuits.compare.heatmaps import write_heatmaps  # noqa: PLC0415
    from circuits.compare.page.report import write_report  # noqa: PLC0415

    try:
        comparison = Comparison.load(folder)
        with writing(folder), tempfile.TemporaryDirectory(dir=folder) as stage:
            write_report(Path(stage), comparison.result)
            notes = write_heatmaps(Path(stage), comparison.result)
            _move_files(Path(stage), folder)
    except CircuitsError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 2
    sys.stdout.write("\n".join([*notes, f"Report: {folder / 'report.html'}"]) + "\n")
    return 0


def build_parser() -> OneLineParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.report",
        description="Draw report.html again from result.json and arrays.safetensors.",
        epilog="example: python -m circuits.report runs/teacher-student",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="written by circuits.compare")
    return parser


def _move_files(stage: Path, folder: Path) -> None:
    """Put each drawn file in the place of the old one; files that were not drawn stay."""
    for path in sorted(stage.rglob("*")):
        target = folder / path.relative_to(stage)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)
