# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.discover MODEL`: the command line only."""

from collections.abc import Sequence

from circuits.compare.running.shadowing import run_unshadowed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is done, 2 is for the user to mend, 130 is Ctrl-C."""
    return run_unshadowed("circuits.discover_command:run_command", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
