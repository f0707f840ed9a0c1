"""Where every seed stands on the core-shortcut plane: in the summary, and on its page."""

from collections.abc import Mapping, Sequence

from behavior.intervals import t_interval
from circuits.compare.config import Role
from circuits.compare.figures.seeds_plane import plane_points, plane_roles
from circuits.compare.page.markup import plot, section
from circuits.compare.reading import estimate, roles
from circuits.compare.recipe.comparable import Run
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, interval

_MAIN: tuple[Role, ...] = ("teacher", "student")


def plane_seeds(runs: Sequence[Run]) -> Json:
    """`plane`: by role, core and shortcut effect of each run, in probability, over its quads."""
    return {
        role: [
            {
                "run": str(run.folder),
                "core": estimate(run.result, "models", role, "behavior", "core_effect").to_json(),
                "shortcut": estimate(
                    run.result, "models", role, "behavior", "shortcut_effect"
                ).to_json(),
            }
            for run in runs
        ]
        for role in roles(runs[0].result)
    }


def seeds_plane_section(stored: Mapping[str, object]) -> str:
    """The plane with its sentence; empty for a summary that holds none."""
    if not plane_roles(stored):
        return ""
    figure = plot("plane", _caption(stored), "Core-shortcut plane, a dot a seed", 430)
    return section("plane", "What moves the answer, seed by seed?", figure)


def _caption(stored: Mapping[str, object]) -> str:
    said = [
        f"{interval(t_interval(values))} in the {ROLE_NAMES[role]}"
        for role in _MAIN
        if (values := _shortcuts(stored, role))
    ]
    return (
        f"The shortcut effect is {' and '.join(said)} (mean and t interval over seeds). Right is "
        "better, up is more biased; dotted lines join equal shares, thin ones join teacher and "
        "student of one seed."
    )


def _shortcuts(stored: Mapping[str, object], role: Role) -> list[float]:
    return [found.value for _, _, found in plane_points(stored, role) if found.value is not None]
