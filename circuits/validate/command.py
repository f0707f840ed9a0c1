"""Runs a validation for the command line: progress, exit codes, table, JSON and figure."""

import sys
from collections.abc import Sequence

from behavior.command_line import DONE, guarded, quieten
from behavior.progress import choose_progress
from circuits.compare.running.provenance import Clock
from circuits.validate.options import ValidateOptions, read_validate_options


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Read the options, validate, and print the table."""
    given = sys.argv[1:] if arguments is None else arguments
    return guarded(lambda: _run(read_validate_options(given)))


def _run(options: ValidateOptions) -> int:
    quieten()
    clock = Clock()
    progress = choose_progress(options.quiet)
    progress.ready()
    progress.stage("import libraries")
    # Not before the options are known to be good: torch takes seconds.
    from circuits.validate.running import run_all, summarise  # noqa: PLC0415
    from circuits.validate.table import draw_table, write_json  # noqa: PLC0415

    try:
        rows = run_all(options, progress.stage, progress.step)
    finally:
        progress.close()
    summary = summarise(rows, options.methods)
    sys.stdout.write(f"{draw_table(summary)}\n")
    if options.json is not None:
        write_json(options.json, options, rows, summary, clock)
    if options.figure is not None:
        from circuits.validate.figure import write_figure  # noqa: PLC0415

        remark = write_figure(options.figure, summary)
        if remark is not None:
            sys.stderr.write(f"{remark}\n")
    return DONE
