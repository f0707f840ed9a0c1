# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.validate`: the command line only."""

import sys
from collections.abc import Sequence

from circuits.compare.running.shadowing import shadowed_package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is done, 2 is for the user to mend, 130 is Ctrl-C."""
    hidden = shadowed_package()
    if hidden is not None:
        sys.stderr.write(f"{hidden}\n")
        return 2
    # Not before: a hidden package would fail on import with a traceback.
    from circuits.validate.command import run_command  # noqa: PLC0415

    return run_command(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
