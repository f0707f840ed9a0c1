# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.report FOLDER`: draw the page again from the stored files alone."""

from collections.abc import Sequence

from circuits.compare.running.shadowing import run_unshadowed


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite `report.html` and `plotly.min.js` of a stored comparison; 0 is done, 2 mendable."""
    return run_unshadowed("circuits.compare.redraw:redraw_command", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
