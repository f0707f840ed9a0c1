# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.doctor`: which optional parts are there, and what each would add."""

from collections.abc import Sequence

from circuits.compare.running.shadowing import run_unshadowed


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the optional parts; 0 is done, 2 is a mistyped option."""
    return run_unshadowed("circuits.doctor_command:doctor_command", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
