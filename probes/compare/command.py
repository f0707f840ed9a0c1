"""Runs one comparison for the command line: progress, exit codes, and nothing left behind."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from behavior.errors import CircuitsError
from probes.compare.folders import whole_folder
from probes.compare.options import PROGRAM, Options, read_options

DONE, MENDABLE, INTERRUPTED = 0, 2, 130


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Measure, store, and say in a few lines what was found; 2 is for the user to mend."""
    given = sys.argv[1:] if arguments is None else arguments
    options = read_options(given)
    try:
        with _Bar(quiet=options.quiet) as bar:
            lines = _run(options, bar, shlex.join(["python", "-m", PROGRAM, *given]))
    except CircuitsError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return MENDABLE
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; no result was written.\n")
        return INTERRUPTED
    if not options.quiet:
        sys.stdout.write("\n".join(lines) + "\n")
    return DONE


def _run(options: Options, bar: "_Bar", command: str) -> list[str]:
    # A spinning OpenMP thread on a busy core costs many times what a second core gives.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    start = time.monotonic()
    with whole_folder(options.folder, options.overwrite) as stage:
        bar.stage("import libraries")
        from transformers.utils import logging  # noqa: PLC0415  (slow, as is all that follows)

        from probes.compare.measuring import measure  # noqa: PLC0415
        from probes.compare.opening import make_ready  # noqa: PLC0415
        from probes.compare.page import PAGE, use_lines, write_page  # noqa: PLC0415
        from probes.compare.result import stage_uses, to_json, write_tables  # noqa: PLC0415

        logging.disable_progress_bar()
        bar.stage("open models")
        ready = make_ready(options)
        found = measure(ready, bar, options.seed, options.batch_size)
        bar.stage("draw and store")
        write_page(stage, found, command)
        result = to_json(found, options, command, time.monotonic() - start)
        write_tables(stage, result, found)
    return [*use_lines(stage_uses(found)), f"Page: {Path(options.folder) / PAGE}"]


class _Bar:
    """A bar that carries the name of the current part and fills once for each."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar = tqdm(
            total=1,
            file=sys.stderr,
            bar_format="{elapsed}  {desc:<28} {percentage:3.0f}% |{bar:24}|",
            leave=False,
            disable=quiet or None,
        )

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def stage(self, name: str) -> None:
        """Begin again at zero under a new name."""
        self._bar.n = 0
        self._bar.set_description_str(name, refresh=True)

    def step(self, done: int, total: int) -> None:
        """Fill the bar in proportion."""
        self._bar.n = done / max(total, 1)
        self._bar.update(0)
