# PYTHON_ARGCOMPLETE_OK
"""`python -m circuits.summarize RUN [RUN ...]`: several seeds, one verdict about the recipe."""

from collections.abc import Sequence

from circuits.compare.running.shadowing import run_unshadowed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `summary.json` and `summary.html`; 0 is done, 2 is for the user to mend."""
    return run_unshadowed("circuits.compare.recipe.command:summarize_command", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
