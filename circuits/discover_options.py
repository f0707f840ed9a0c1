"""The command line of `python -m circuits.discover`, without torch."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from behavior.command_line import OneLineParser
from behavior.errors import CircuitsError
from circuits.compare.config import DIRECTIONS, DTYPES, METHODS, Direction, Dtype, Method
from circuits.compare.options import short_name, whole

SELECTIONS = ("top_k", "greedy", "stable")
ORDERS = ("abs", "signed")
ATTENTION = ("linear", "exact_pattern")

_EPILOG = """\
A model is a name in checkpoints.yaml, a local Hugging Face folder, or a hub id. Edges are chosen on
one half of the quads (or pairs) and measured on the other. The folder gets circuit.json,
scores.safetensors and faithfulness.json.

  python -m circuits.discover student --contrast core
  python -m circuits.discover ./vit --task digits --contrast shortcut --size 10%
"""


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """What the command was asked to do.

    Attributes:
        model: Name in checkpoints.yaml, local folder or hub id.
        task: Name for `behavior.load_task`; None takes the one the checkpoint names.
        examples: File to read instead of a named task, or that the named task reads.
        checkpoints: Path of a checkpoints.yaml; None looks in the usual places.
        contrast: `core` or `shortcut`.
        method: Algorithm.
        steps: Of the algorithm; None leaves its default.
        attention: How it passes the softmax of attention; None leaves its default.
        size: Edges to keep, or None.
        percent: Share of the edges to keep, or None.
        select: How edges are selected.
        by: How they are ranked.
        direction: Noise or denoise.
        frozen: Whether circuits are also run with frozen gates, as a diagnostic.
        n_pairs: At most so many.
        seed: Of the pairs drawn, the halves and the resamples.
        device: Such as `cpu`, `cuda`.
        dtype: Of the weights.
        batch_size: Pairs in one forward; None lets the engine choose.
        check: Whether the model proves on load that its architecture is declared rightly.
        folder: Where the result goes.
        overwrite: Whether an older one there is replaced.
        quiet: Nothing but errors.
        json: The headline as JSON.
    """

    model: str
    task: str | None
    examples: str | None
    checkpoints: str | None
    contrast: Literal["core", "shortcut"]
    method: Method
    steps: int | None
    attention: Literal["linear", "exact_pattern"] | None
    size: int | None
    percent: float | None
    select: Literal["top_k", "greedy", "stable"]
    by: Literal["abs", "signed"]
    direction: Direction
    frozen: bool
    n_pairs: int
    seed: int
    device: str
    dtype: Dtype
    batch_size: int | None
    check: bool
    folder: Path
    overwrite: bool
    quiet: bool
    json: bool

    def __post_init__(self) -> None:
        for name in ("steps", "size", "n_pairs", "batch_size"):
            value = cast("int | None", getattr(self, name))
            if value is not None and value < 1:
                raise CircuitsError(f"{name} is {value}. Give a whole number of at least 1.")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise CircuitsError(f"The size is {self.percent:g}%. Give more than 0 and at most 100.")
        if self.seed < 0:
            raise CircuitsError(f"seed is {self.seed}. Give a whole number of at least 0.")


def read_discover_options(arguments: Sequence[str] | None = None) -> DiscoverOptions:
    """Read and check the command line.

    Raises:
        CircuitsError: If a value makes no sense.
        SystemExit: With code 2 if an option is unknown, with 0 after `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    size, percent = cast("tuple[int | None, float | None]", given.pop("size") or (None, None))
    folder = cast("Path | None", given.pop("out"))
    named = f"{short_name(given['model'])}-{given['contrast']}-{given['method']}"
    return DiscoverOptions(
        **given, size=size, percent=percent, folder=folder or Path("runs") / named
    )


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = OneLineParser(
        prog="python -m circuits.discover",
        description="Which edges of one model carry a contrast? Writes the circuit, the scores of "
        "all edges, and how faithful circuits of all sizes are.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="the model")
    _add_evidence(parser)
    _add_discovery(parser)
    _add_running(parser)
    return parser


def _add_evidence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evidence")
    group.add_argument("--task", metavar="NAME", help="such as nli-overlap; or the kind of FILE")
    group.add_argument("--examples", metavar="FILE", help="quads or pairs to read")
    group.add_argument("--checkpoints", metavar="FILE", help="a checkpoints.yaml")
    group.add_argument("--contrast", choices=("core", "shortcut"), default="core")
    group.add_argument("--n-pairs", metavar="N", type=whole, default=256, help="at most (256)")
    group.add_argument("--seed", metavar="K", type=whole, default=0)


def _add_discovery(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("discovery")
    group.add_argument(
        "--method",
        choices=METHODS,
        default="eap_ig_inputs",
        metavar="NAME",
        help=f"one of {', '.join(METHODS)} (default %(default)s)",
    )
    group.add_argument("--steps", metavar="N", type=whole, help="of the method, where it has any")
    group.add_argument(
        "--attention",
        choices=ATTENTION,
        help="how a gradient method takes edges into q and k through the softmax (linear)",
    )
    group.add_argument(
        "--size",
        metavar="K",
        type=_size,
        help="edges to keep, such as 50 or 10%%; by default the smallest of 1, 2, 5, 10, 20, 50, "
        "100%% with a faithfulness of .9",
    )
    group.add_argument(
        "--select", choices=SELECTIONS, default="top_k", help="(default %(default)s)"
    )
    group.add_argument("--by", choices=ORDERS, default="abs", help="(default %(default)s)")
    group.add_argument("--direction", choices=DIRECTIONS, default="noise")
    group.add_argument(
        "--frozen",
        action="store_true",
        help="also run circuits with frozen norms and ReLUs: a diagnostic, not a result",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running and output")
    group.add_argument("--device", metavar="D", default="cpu", help="cpu, cuda, mps")
    group.add_argument("--dtype", choices=DTYPES, default="float32")
    group.add_argument("--batch-size", metavar="B", type=whole, help="pairs in one forward")
    group.add_argument(
        "--no-check", dest="check", action="store_false", help="skip the proof on load"
    )
    group.add_argument(
        "--out", metavar="DIR", type=Path, help="default: runs/<model>-<contrast>-<method>"
    )
    group.add_argument("--overwrite", action="store_true", help="replace an older result")
    group.add_argument("--quiet", action="store_true", help="nothing but errors")
    group.add_argument("--json", action="store_true", help="print the headline as JSON")


def _size(text: str) -> tuple[int | None, float | None]:
    match = re.fullmatch(r"(\d+(\.\d+)?)%|(\d+)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of edges such as 50 or 10%")
    return (int(match[3]), None) if match[3] else (None, float(match[1]))
