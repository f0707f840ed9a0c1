"""Runs one comparison for the command line: progress, exit codes, and nothing left behind."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from behavior.command_line import DONE, guarded, quieten
from behavior.progress import Bar, Progress, Silent
from behavior.staging import staged_folder
from probes.compare.options import PROGRAM, Options, read_options

HOLDS = ("probes.html", "probes")
"""A file by which an older result is known, and what it is called."""


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Measure, store, and say in a few lines what was found; 2 is for the user to mend."""
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", PROGRAM, *given])
    return guarded(lambda: _run(read_options(given), command))


def _run(options: Options, command: str) -> int:
    quieten()
    progress = Bar() if sys.stderr.isatty() and not options.quiet else Silent()
    try:
        lines = _compare(options, progress, command)
    finally:
        progress.close()
    if not options.quiet:
        sys.stdout.write("\n".join(lines) + "\n")
    return DONE


def _compare(options: Options, progress: Progress, command: str) -> list[str]:
    start = time.monotonic()
    with staged_folder(options.folder, options.overwrite, HOLDS, say=progress.stage) as stage:
        progress.stage("import libraries")
        from transformers.utils import logging  # noqa: PLC0415  (slow, as is all that follows)

        from probes.compare.measuring import measure  # noqa: PLC0415
        from probes.compare.opening import make_ready  # noqa: PLC0415
        from probes.compare.page import PAGE, use_lines, write_page  # noqa: PLC0415
        from probes.compare.result import stage_uses, to_json, write_tables  # noqa: PLC0415

        logging.disable_progress_bar()
        progress.stage("open models")
        ready = make_ready(options)
        found = measure(ready, progress, options.seed, options.batch_size)
        progress.stage("draw and store")
        write_page(stage, found, command)
        result = to_json(found, options, command, time.monotonic() - start)
        write_tables(stage, result, found)
    return [*use_lines(stage_uses(found)), f"Page: {Path(options.folder) / PAGE}"]
