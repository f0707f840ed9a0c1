"""Runs one comparison for the command line: progress, exit codes, and nothing left behind."""

import contextlib
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from types import FrameType, ModuleType

from behavior.errors import CircuitsError
from circuits.compare.options import Options, read_options
from circuits.compare.running.progress import Progress, choose_progress

Json = dict[str, object]

PROGRAM = "circuits.compare"
DONE, MENDABLE, INTERRUPTED, TERMINATED = 0, 2, 130, 143


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Read the options, compare, store, and say in a few lines what was found."""
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", PROGRAM, *given])
    return guarded(lambda: _run(read_options(given), command))


def guarded(action: Callable[[], int]) -> int:
    """Run a command: what the user can mend is said in one line, with exit code 2."""
    try:
        with terminable():
            return action()
    except CircuitsError as error:
        return _mendable(error)
    except (MemoryError, RuntimeError) as error:
        # torch's own OutOfMemoryError is a RuntimeError, and torch may not be imported yet.
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        return _mendable("Out of memory. Give a smaller --batch-size, or another --device.")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; no result was written.\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def quieten() -> None:
    """Settings of libraries that have to be made before these are imported."""
    # A spinning OpenMP thread on a busy core costs many times what a second core gives.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextlib.contextmanager
def terminable() -> Generator[None]:
    """Let SIGTERM unwind the stack, so that temporary folders are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(options: Options, command: str) -> int:
    quieten()
    progress = choose_progress(options.quiet)
    result: Json = {}
    overview: Json | None = None
    try:
        if options.dry_run:
            return _estimate(options, progress)
        if len(options.configs) > 1:
            overview, notes = _compare_several(options, progress, command)
        else:
            result, notes = _compare(options, progress, command)
    finally:
        progress.close()
    if overview is None:
        _say(options, result, notes)
    else:
        _say_overview(options, overview, notes)
    return DONE


def _compare(options: Options, progress: Progress, command: str) -> tuple[Json, tuple[str, ...]]:
    # Not before the folder stands: torch takes seconds, a folder that cannot be is seen at once.
    from circuits.compare.storage import staged_folder  # noqa: PLC0415

    with staged_folder(options.folder, options.overwrite, say=progress.stage) as stage:
        pipeline = _import_pipeline(progress)
        from circuits.compare.running.steps import kept_steps, remove_steps  # noqa: PLC0415

        with kept_steps(options.folder, options.resume, progress.stage) as steps:
            comparison = pipeline.run_comparison(
                options.config, progress, command=command, steps=steps
            )
            progress.stage("draw and store")
            notes = comparison.write(stage, options.folder, figures=options.figures)
    remove_steps(options.folder)
    return comparison.result, notes


def _compare_several(
    options: Options, progress: Progress, command: str
) -> tuple[Json, tuple[str, ...]]:
    from circuits.compare.storage import staged_folder  # noqa: PLC0415

    holds = ("overview.json", "a comparison of several students")
    with staged_folder(options.folder, options.overwrite, holds, say=progress.stage) as stage:
        pipeline = _import_pipeline(progress)
        from circuits.compare.running.steps import kept_steps, remove_steps  # noqa: PLC0415
        from circuits.compare.several.overview import overview_json  # noqa: PLC0415
        from circuits.compare.several.running import compare_students  # noqa: PLC0415

        with kept_steps(options.folder, options.resume, progress.stage) as steps:
            overview, notes = compare_students(
                pipeline,
                options.configs,
                progress,
                command=command,
                steps=steps,
                stage=stage,
                folder=options.folder,
                figures=options.figures,
            )
    remove_steps(options.folder)
    return overview_json(overview), notes


def _estimate(options: Options, progress: Progress) -> int:
    pipeline = _import_pipeline(progress)
    lines: list[str] = []
    for config in options.configs:
        lines += [f"Student {config.student}:"] if len(options.configs) > 1 else []
        lines += pipeline.dry_run(config, progress)
    progress.close()
    sys.stdout.write("\n".join(lines) + "\n")
    return DONE


def _import_pipeline(progress: Progress) -> ModuleType:
    progress.stage("import libraries")
    from transformers.utils import logging  # noqa: PLC0415  (slow, as is all that follows)

    from circuits.compare import pipeline  # noqa: PLC0415

    logging.disable_progress_bar()
    return pipeline


def _say(options: Options, result: Json, notes: Sequence[str]) -> None:
    from circuits.compare.summary import headline, terminal_summary  # noqa: PLC0415

    if options.json:
        said = {**headline(result, options.folder), "notes": list(notes)}
        sys.stdout.write(json.dumps(said, allow_nan=False) + "\n")
    elif not options.quiet:
        lines = (terminal_summary(result), *notes, f"Report: {options.folder / 'report.html'}")
        sys.stdout.write("\n".join(lines) + "\n")


def _say_overview(options: Options, overview: Json, notes: Sequence[str]) -> None:
    from circuits.compare.several.lines import lead, overview_lines  # noqa: PLC0415

    if options.json:
        said = {"folder": str(options.folder), **overview, "notes": list(notes)}
        sys.stdout.write(json.dumps(said, allow_nan=False) + "\n")
    elif not options.quiet:
        page = f"Overview: {options.folder / 'index.html'}"
        lines = (*overview_lines(overview), "", lead(overview), *notes, page)
        sys.stdout.write("\n".join(lines) + "\n")


def _mendable(error: object) -> int:
    sys.stderr.write(" ".join(str(error).split()) + "\n")
    return MENDABLE
