# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.show FOLDER`: a stored result in a terminal."""

from collections.abc import Sequence

from circuits.compare.running.shadowing import run_unshadowed


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdict and the tables; 0 is done, 2 if the folder holds no result."""
    return run_unshadowed("circuits.compare.showing:show_command", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
