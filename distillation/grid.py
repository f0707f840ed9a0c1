"""Several recipes with several seeds, one after the other in one process.

    python -m distillation.grid recipes --recipes student,student-plain --seeds 20-24 --runs runs

Every recipe comes after the recipes whose models it needs, and these are added where they were
not named. Finished runs are skipped, an interrupted one goes on, so the same command again
does what is left.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from behavior.errors import RecipeError
from distillation.commands import RECIPES, RUNS, run_command
from distillation.folders import run_folder
from distillation.recipe import Recipe
from distillation.recipe_files import list_recipes
from distillation.train import train


def train_grid(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    runs: Path,
    *,
    report: Callable[[str], None] | None = None,
) -> list[Path]:
    """Train recipes, given parents first, with every seed; folders in the order of training.

    Args:
        recipes: As `in_order` gives them.
        seeds: Each trains all recipes before the next.
        runs: Folder that becomes `RUNS/<recipe>/seed-<K>`.
        report: Called with a line before and after each run.
    """
    say = report or (lambda _: None)
    jobs = [(recipe, seed) for seed in seeds for recipe in recipes]
    folders: list[Path] = []
    for number, (recipe, seed) in enumerate(jobs, start=1):
        out = run_folder(runs, recipe.name, seed)
        skipped, started = out.exists(), time.perf_counter()
        folders.append(train(recipe, seed, out))
        spent = "already finished" if skipped else f"{time.perf_counter() - started:.0f} s"
        say(f"[{number}/{len(jobs)}] {recipe.name}, seed {seed}: {spent}")
    return folders


def in_order(recipes: Mapping[str, Recipe], names: Sequence[str] | None = None) -> list[Recipe]:
    """The named recipes and all they need, each after its parents; None names all.

    Raises:
        RecipeError: If a name is unknown, or recipes need each other in a circle.
    """
    needed: dict[str, tuple[str, ...]] = {}
    waiting = list(recipes if names is None else names)
    while waiting:
        name = waiting.pop()
        if name not in recipes:
            raise RecipeError(
                f"There is no recipe {name!r}. Expected one of: {', '.join(recipes)}."
            )
        if name not in needed:
            needed[name] = recipes[name].parents
            waiting.extend(needed[name])
    try:
        ordered = list(
            TopologicalSorter({name: needed[name] for name in sorted(needed)}).static_order()
        )
    except CycleError as error:
        raise RecipeError(
            f"Recipes need each other in a circle: {' <- '.join(error.args[1])}."
        ) from None
    return [recipes[name] for name in ordered]


def parse_seeds(text: str) -> list[int]:
    """Read `20-24,30` as 20, 21, 22, 23, 24, 30.

    Raises:
        RecipeError: If the text is no list of seeds.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, *rest = part.strip().split("-")
        last = rest[0] if rest else first
        if len(rest) > 1 or not (first.isdecimal() and last.isdecimal()) or int(first) > int(last):
            raise RecipeError(f"Cannot read {text!r} as seeds. Expected the form 20-24 or 1,2,3.")
        seeds.extend(range(int(first), int(last) + 1))
    return seeds


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    names = None if options.recipes is None else options.recipes.split(",")
    recipes = in_order(list_recipes(options.folder), names)
    train_grid(recipes, parse_seeds(options.seeds), options.runs, report=_write_line)
    return 0


def _write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m distillation.grid", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, nargs="?", default=RECIPES, help="folder of recipes")
    parser.add_argument("--recipes", help="names, separated by commas (default all)")
    parser.add_argument("--seeds", default="0", help="as 20-24 or 1,2,3 (default 0)")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (default runs)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
