"""Runs one comparison for the command line: progress, exit codes, and nothing left behind."""

import json
import shlex
import sys
from collections.abc import Sequence
from types import ModuleType

from behavior.command_line import DONE, guarded, quieten
from behavior.progress import Progress, choose_progress
from circuits.compare.options import Options, read_options

Json = dict[str, object]

PROGRAM = "circuits.compare"


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Read the options, compare, store, and say in a few lines what was found."""
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", PROGRAM, *given])
    return guarded(lambda: _run(read_options(given), command))


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
    from behavior.staging import staged_folder  # noqa: PLC0415

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
    from behavior.staging import staged_folder  # noqa: PLC0415

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
