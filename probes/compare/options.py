"""The command line of `python -m probes.compare`, without torch."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from behavior.command_line import OneLineParser

PROGRAM = "probes.compare"

_EPILOG = """\
A model is a name in checkpoints.yaml, a local Hugging Face folder, or a hub id. Examples are quads
of texts or images (JSONL or CSV). The folder gets probes.html, result.json and tables as CSV.

  python -m probes.compare teacher student
  python -m probes.compare ./vit-big ./vit-small --task digits
  python -m probes.compare ./big ./small --examples quads.jsonl --twin ./small-seed-1
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked to do.

    Attributes:
        teacher: Name in checkpoints.yaml, local folder or hub id.
        student: Likewise.
        twin: The student trained again with another seed, or None.
        task: Name for `behavior.load_task`; None takes the one the teacher names.
        examples: File to read instead of a named task.
        checkpoints: Path of a checkpoints.yaml; None looks in the usual places.
        n_quads: At most so many.
        seed: Of the quads, folds, halves, random maps and resamples.
        device: Such as `cpu`, `cuda`.
        batch_size: Inputs in one forward; None lets the engine choose.
        check: Whether models prove on load that their architecture is declared rightly.
        folder: Where the result goes.
        overwrite: Whether an older one there is replaced.
        quiet: Nothing but errors.
    """

    teacher: str
    student: str
    twin: str | None = None
    task: str | None = None
    examples: str | None = None
    checkpoints: str | None = None
    n_quads: int = 600
    seed: int = 0
    device: str = "cpu"
    batch_size: int | None = None
    check: bool = True
    folder: Path = Path("runs/probes")
    overwrite: bool = False
    quiet: bool = False


def read_options(arguments: Sequence[str]) -> Options:
    """Read the arguments; leaves with exit code 2 and one line if they cannot be read."""
    given = vars(_parser().parse_args(arguments))
    folder = given.pop("out")
    if folder is None:
        names = [_short(given[role]) for role in ("teacher", "student")]
        folder = Path("runs") / f"probes-{'-'.join(names)}"
    return Options(folder=Path(folder), check=not given.pop("no_check"), **given)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=f"python -m {PROGRAM}",
        description="What is decodable, used, similar and attended to, in teacher and student.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("teacher", help="name, folder or hub id")
    parser.add_argument("student", help="name, folder or hub id")
    parser.add_argument("--twin", help="the student with another seed: the floor of similarities")
    parser.add_argument("--task", help="such as nli-overlap or digits; else as the teacher says")
    parser.add_argument("--examples", metavar="FILE", help="quads of your own")
    parser.add_argument("--checkpoints", metavar="FILE", help="another checkpoints.yaml")
    parser.add_argument(
        "--quads", dest="n_quads", type=_whole(8), default=600, help="at most so many (600)"
    )
    parser.add_argument("--seed", type=_whole(0), default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=_whole(1), default=None)
    parser.add_argument("--no-check", action="store_true", help="skip the self-check on load")
    parser.add_argument("--out", metavar="DIR", help="default: runs/probes-TEACHER-STUDENT")
    parser.add_argument("--overwrite", action="store_true", help="replace an older result there")
    parser.add_argument("--quiet", action="store_true", help="nothing but errors")
    return parser


class _whole:
    """Whole numbers of at least so much."""

    def __init__(self, least: int) -> None:
        self._least = least

    def __call__(self, text: str) -> int:
        number = int(text) if re.fullmatch(r"-?\d+", text) else None
        if number is None or number < self._least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {self._least}, got {text!r}"
            )
        return number


def _short(reference: str) -> str:
    """A name for a folder, from a reference to a model."""
    return re.sub(r"[^\w.-]+", "-", reference.rstrip("/").rsplit("/", 1)[-1]).strip("-.") or "model"
