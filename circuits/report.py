"""`python -m circuits.report FOLDER`: draw the page again from the stored files alone."""

import sys
from collections.abc import Sequence

from circuits.compare.shadowing import shadowed_package


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite `report.html` and `plotly.min.js` of a stored comparison; 0 is done, 2 mendable."""
    hidden = shadowed_package()
    if hidden is not None:
        sys.stderr.write(f"{hidden}\n")
        return 2
    # Not before: a hidden package would fail on import with a traceback.
    from circuits.compare.redraw import redraw_command  # noqa: PLC0415

    return redraw_command(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
