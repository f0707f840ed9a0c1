"""The command line of `python -m circuits.validate`, without torch."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from behavior.command_line import OneLineParser
from behavior.errors import CircuitsError
from circuits.discover_options import METHODS

SETS = ("wired", "even", "cancelling", "hard", "trained")
SETS_BY_DEFAULT = SETS[:-1]
"""A plant of the last takes a minute to train."""
FAMILIES = ("bert", "gpt2", "vit", "t5", "resnet")
METRICS = (
    "edge_auroc",
    "edge_ap",
    "edge_precision",
    "node_auroc",
    "node_ap",
    "cmd",
    "pearson",
    "seconds",
    "forwards",
)

FIGURES = (".html", ".png", ".svg")

_EPILOG = """\
Plants are models whose weights were written so that their circuit is known. N of them are made for
each set, dealt out over the families in turn; each is asked for its core and its shortcut circuit.

  wired        nothing is hidden: every method should be perfect
  even         MLPs that answer to both classes alike, but have a steep slope
  cancelling   pairs of heads that do nothing together and much alone
  hard         cancelling, saturated, with real norms, and every reader sees everything a little
  trained      not written but trained through a mask; BERT, GPT-2 and ViT only, half a minute each

  python -m circuits.validate
  python -m circuits.validate --figure validation.html --json validation.json
  python -m circuits.validate --plants 4 --sets cancelling,hard --methods exact_edges,edge_mask
"""


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """What the command was asked to do.

    Attributes:
        plants: Of each set.
        seed: Of the first plant; plant i of each set has seed 1,000 x seed + i.
        sets: Kinds of plants.
        families: Of models, in turn.
        methods: Algorithms.
        option: Other values of an algorithm's options, by algorithm and option.
        n_pairs: On which edges are scored; as many others measure CMD.
        jobs: Plants at a time.
        json: File for the result, or None.
        figure: File for the figure (.html, .png or .svg), or None.
        quiet: No progress.
    """

    plants: int
    seed: int
    sets: tuple[str, ...]
    families: tuple[str, ...]
    methods: tuple[str, ...]
    option: Mapping[str, Mapping[str, float | int]]
    n_pairs: int
    jobs: int
    json: Path | None
    figure: Path | None
    quiet: bool

    def __post_init__(self) -> None:
        for name in ("plants", "n_pairs", "jobs"):
            if getattr(self, name) < 1:
                raise CircuitsError(f"{name} is {getattr(self, name)}. Give at least 1.")
        if self.seed < 0:
            raise CircuitsError(f"seed is {self.seed}. Give a whole number of at least 0.")
        for file in (self.json, self.figure):
            if file is not None and not file.absolute().parent.is_dir():
                raise CircuitsError(f"There is no folder for {file}. Make it first.")
        if self.figure is not None and self.figure.suffix not in FIGURES:
            raise CircuitsError(
                f"{self.figure} is no figure. Give a file that ends in {', '.join(FIGURES)}."
            )


def read_validate_options(arguments: Sequence[str] | None = None) -> ValidateOptions:
    """Read and check the command line.

    Raises:
        CircuitsError: If a value makes no sense.
        SystemExit: With code 2 if an option is unknown, with 0 after `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    lists: dict[str, Any] = {
        name: _listed(name, cast(str, given.pop(name)), known)
        for name, known in (("sets", SETS), ("families", FAMILIES), ("methods", METHODS))
    }
    changed = _changed(cast("list[str]", given.pop("option")))
    return ValidateOptions(**given, **lists, option=changed)


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.validate",
        description="How far can each discovery algorithm be trusted? Runs them on models whose "
        "circuit is known.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--plants", metavar="N", type=int, default=4, help="of each set (4)")
    parser.add_argument("--seed", metavar="K", type=int, default=0, help="of the plants (0)")
    parser.add_argument(
        "--sets",
        metavar="A,B",
        default=",".join(SETS_BY_DEFAULT),
        help="of the above (default: all but trained)",
    )
    parser.add_argument(
        "--families",
        metavar="A,B",
        default="bert,gpt2",
        help="of bert, gpt2, vit, t5, resnet; %(default)s",
    )
    parser.add_argument(
        "--methods", metavar="A,B", default=",".join(METHODS), help="default: all (%(default)s)"
    )
    parser.add_argument(
        "--option",
        metavar="METHOD.NAME=X",
        action="append",
        default=[],
        help="another value of an algorithm's option, such as eap_ig_inputs.steps=10",
    )
    parser.add_argument(
        "--n-pairs", metavar="N", type=int, default=64, help="that edges are scored on (64)"
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="plants at a time (2)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON")
    parser.add_argument(
        "--figure", metavar="FILE", type=Path, help="draw the result (.html, .png or .svg)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def _listed(what: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = f"Unknown {what}: {unknown[0]!r}" if unknown else f"No {what} given"
        raise CircuitsError(f"{found}. Expected some of: {', '.join(known)}.")
    return names


def _changed(texts: Sequence[str]) -> dict[str, dict[str, float | int]]:
    found: dict[str, dict[str, float | int]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        method, _, option = name.partition(".")
        if method not in METHODS or not option:
            raise CircuitsError(
                f"{text!r} is no option of a method. Expected METHOD.NAME=NUMBER, such as "
                "eap_ig_inputs.steps=10."
            )
        found.setdefault(method, {})[option] = _number(text, value)
    return found


def _number(text: str, value: str) -> float | int:
    try:
        return float(value) if "." in value or "e" in value else int(value)
    except ValueError:
        raise CircuitsError(f"{text!r} has no number after '='.") from None
