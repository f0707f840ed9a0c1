"""Options, table and JSON of `python -m circuits.doctor`."""

import argparse
import json
import platform
import sys
from collections.abc import Sequence

from behavior.command_line import DONE, OneLineParser, guarded, quieten

_EPILOG = """\
  python -m circuits.doctor
  python -m circuits.doctor --json
"""
_WIDTH = 20
_INDENT = " " * (_WIDTH + 2)


def doctor_command(arguments: Sequence[str] | None = None) -> int:
    """Look for every optional part and print what was found; 0, whatever is missing."""
    return guarded(lambda: _run(arguments))


def build_parser() -> OneLineParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.doctor",
        description="Which optional parts are installed, what each adds, and how to get it. "
        "Everything else works without them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    options = build_parser().parse_args(arguments)
    quieten()
    # A mistyped option is answered before the parts are looked for.
    from circuits.doctor_parts import Part, core_versions, examine_parts  # noqa: PLC0415

    versions = {"python": platform.python_version(), **core_versions()}
    parts: tuple[Part, ...] = examine_parts()
    if options.json:
        said = {"versions": versions, "parts": [part.to_json() for part in parts]}
        sys.stdout.write(json.dumps(said) + "\n")
        return DONE
    lines = [", ".join(f"{name} {version or '-'}" for name, version in versions.items()), ""]
    for part in parts:
        state = part.version if part.found else "not found"
        if part.remark:
            state = f"{part.version} found, but {part.remark}"
        lines += [f"{part.name:{_WIDTH}}  {state}", f"{_INDENT}{part.adds}"]
        lines += [] if part.found else [f"{_INDENT}to get it: {part.install}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return DONE
