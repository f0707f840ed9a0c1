"""The command line of `python -m circuits.compare`, without torch."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from behavior.command_line import OneLineParser
from behavior.errors import CircuitsError
from circuits.compare.config import (
    BACKENDS,
    DIRECTIONS,
    DISCOVERIES,
    DTYPES,
    PAIR,
    ComparisonConfig,
)

_DEFAULTS = ComparisonConfig("", "")

_EPILOG = """\
A model is a name in checkpoints.yaml, a local Hugging Face folder, or a hub id (org/name or
org/name@revision). Examples may be quads or pairs of texts or images (JSONL or CSV), HANS or NLI
files, or a folder of images in groups (WILDS).

  python -m circuits.compare teacher student
  python -m circuits.compare teacher student-a student-b
  python -m circuits.compare teacher student --teacher-twins runs/teacher/seed-1 runs/teacher/seed-2
  python -m circuits.compare ./vit-big ./vit-small --task digits
  python -m circuits.compare ./big ./small --examples pairs.jsonl --out runs/mine
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was asked to do, beside the comparison itself.

    Attributes:
        config: The comparison, with the first student.
        folder: Where the result goes.
        overwrite: Whether an older comparison there is replaced.
        figures: Whether heatmaps are drawn as interactive pages and pictures.
        quiet: Neither progress nor table.
        json: The headline as JSON on standard output instead of the table.
        dry_run: Only say what the run would cost.
        resume: Whether finished steps of a run that was killed are taken.
        students: All of them, in the order given; a page each if there are several.
    """

    config: ComparisonConfig
    folder: Path
    overwrite: bool
    figures: bool
    quiet: bool
    json: bool
    dry_run: bool
    resume: bool = False
    students: tuple[str, ...] = ()

    @property
    def configs(self) -> tuple[ComparisonConfig, ...]:
        """One comparison for each student."""
        return tuple(replace(self.config, student=name) for name in self.students) or (self.config,)


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read and check the command line.

    Raises:
        CircuitsError: If a value makes no sense.
        SystemExit: With code 2 if an option is unknown, with 0 after `--help`.
    """
    given = vars(build_parser().parse_args(arguments))
    folder = cast(Path | None, given.pop("out"))
    overwrite, figures, quiet, as_json, dry_run, resume = (
        bool(given.pop(name))
        for name in ("overwrite", "figures", "quiet", "json", "dry_run", "resume")
    )
    students = tuple(cast(list[str], given.pop("students")))
    _refuse_repeated(students)
    twins = {
        f"{role}_twins": tuple(cast("list[str] | None", given.pop(f"{role}_twins")) or ())
        for role in PAIR
    }
    _refuse_shared_twins(twins["student_twins"], students)
    config = ComparisonConfig(student=students[0], **twins, **given)
    return Options(
        config=config,
        folder=folder if folder is not None else default_folder(config, len(students)),
        overwrite=overwrite,
        figures=figures,
        quiet=quiet,
        json=as_json,
        dry_run=dry_run,
        resume=resume,
        students=students,
    )


def default_folder(config: ComparisonConfig, n_students: int = 1) -> Path:
    """`runs/<teacher>-<student>`, or `runs/<teacher>-<n>-students`; the last part of paths, ids."""
    if n_students > 1:
        return Path("runs") / f"{short_name(config.teacher)}-{n_students}-students"
    return Path("runs") / f"{short_name(config.teacher)}-{short_name(config.student)}"


def build_parser() -> argparse.ArgumentParser:
    """All options of the comparison."""
    parser = OneLineParser(
        prog="python -m circuits.compare",
        description="Did the student lose its teacher's debiasing, by how much, and in which "
        "attention heads? Writes a folder with a report page, heatmaps and the numbers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("teacher", metavar="TEACHER", help="the debiased teacher")
    parser.add_argument(
        "students",
        metavar="STUDENT",
        nargs="+",
        help="the student distilled from it; of several, each gets a page, and one page ranks them",
    )
    _add_companions(parser)
    _add_evidence(parser)
    _add_running(parser)
    _add_output(parser)
    return parser


def _add_companions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("companions", "taken from checkpoints.yaml unless given")
    for option, text in (
        ("--teacher-plain", "the teacher's architecture, not debiased"),
        ("--student-plain", "the student's architecture, neither debiased nor distilled"),
        ("--student-debiased", "the student's architecture, debiased without a teacher"),
    ):
        group.add_argument(option, metavar="M", help=text)
    for role in PAIR:
        group.add_argument(
            f"--{role}-twins",
            metavar="M",
            nargs="+",
            help=f"models of the {role}'s recipe from other seeds: what a seed alone changes",
        )
    group.add_argument("--checkpoints", metavar="FILE", help="a checkpoints.yaml")


def _add_evidence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evidence")
    group.add_argument("--task", metavar="NAME", help="such as nli-overlap; or the kind of FILE")
    group.add_argument("--examples", metavar="FILE", help="quads, pairs or examples to read")
    group.add_argument(
        "--n-pairs",
        metavar="N",
        type=whole,
        default=_DEFAULTS.n_pairs,
        help="at most this many pairs of each contrast, two a quad (default %(default)s)",
    )
    group.add_argument(
        "--probe-quads",
        dest="n_probe_quads",
        metavar="N",
        type=whole,
        default=_DEFAULTS.n_probe_quads,
        help="at most this many further quads to probe every stage with (default %(default)s; 0 "
        "for no probes)",
    )
    group.add_argument(
        "--direction",
        choices=DIRECTIONS,
        default=_DEFAULTS.direction,
        help="patch the corrupted value into the clean run (noise, the default), or back",
    )
    group.add_argument(
        "--discovery",
        choices=DISCOVERIES,
        default=_DEFAULTS.discovery,
        metavar="METHOD",
        help="how the edges of both circuits are scored (default %(default)s): "
        f"{', '.join(DISCOVERIES[:-1])}; or none, for no circuits",
    )
    group.add_argument(
        "--no-interventions",
        dest="interventions",
        action="store_false",
        help="do not match heads, take them away, or put the teacher's into the student",
    )
    group.add_argument("--seed", metavar="K", type=whole, default=_DEFAULTS.seed)


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--device", metavar="D", default=_DEFAULTS.device, help="cpu, cuda, mps")
    group.add_argument("--dtype", choices=DTYPES, default=_DEFAULTS.dtype)
    group.add_argument("--batch-size", metavar="B", type=whole, help="examples in one forward")
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default=_DEFAULTS.backend,
        help="library that patches (default %(default)s); the others are slower and need the "
        "extra 'backends'",
    )
    group.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="skip the proof on load that an architecture is declared rightly",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="take the finished steps of a run to the same folder that was killed",
    )
    group.add_argument("--dry-run", action="store_true", help="say what it would cost, and stop")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--out", metavar="DIR", type=Path, help="default: runs/<teacher>-<student>")
    group.add_argument("--overwrite", action="store_true", help="replace an older comparison")
    group.add_argument(
        "--no-figures",
        dest="figures",
        action="store_false",
        help="skip the heatmap pages and pictures; report and tables are written all the same",
    )
    group.add_argument("--quiet", action="store_true", help="nothing but errors")
    group.add_argument("--json", action="store_true", help="print the headline as JSON")


def _refuse_repeated(students: Sequence[str]) -> None:
    repeated = [name for i, name in enumerate(students) if name in students[:i]]
    if repeated:
        raise CircuitsError(f"The student {repeated[0]!r} is given twice. Give each student once.")


def _refuse_shared_twins(twins: Sequence[str], students: Sequence[str]) -> None:
    if twins and len(students) > 1:
        raise CircuitsError(
            f"--student-twins belong to one student, but {len(students)} were given. Compare each "
            "student that has twins on its own."
        )


def whole(text: str) -> int:
    """A whole number, for an option."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def short_name(model: str) -> str:
    """A model's name as part of a folder's: the last part of a path or hub id.

    Raises:
        CircuitsError: If nothing of the name can stand in a folder's.
    """
    name = model.rstrip("/").split("@")[0].rsplit("/", 1)[-1]
    cleaned = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    if not cleaned:
        cleaned = re.sub(r"[^\w.-]+", "-", Path(model).resolve().name).strip("-.")
    if not cleaned:
        raise CircuitsError(f"No folder name can be made from {model!r}. Give --out.")
    return cleaned
