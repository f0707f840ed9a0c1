"""Results of finished steps, so that a run that was killed goes on where it was.

1. Each expensive step (a model's answers, one model's effects for one contrast, one model's
   circuits for one contrast, the probes of one model, the alignment, a set of heads taken away)
   is stored in the folder `<out>.partial` as it ends: one safetensors file, whole or not at all.
2. Beside the result stand digests of all that it depends on (`fingerprints`).
3. A resumed run takes a stored result if all these digests are the same, and runs the step again
   if one differs, or if the file is damaged; either is said in one line.
4. When the result is written the folder goes.

What is cheap is not stored and done again: drawing and aligning the data, bootstrap intervals,
the verdict.
"""

import contextlib
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from behavior.errors import ResultError
from circuits.compare.running.fingerprints import Fingerprints
from circuits.compare.running.packing import Packer, Tensors, digest, unpack
from patching.files import read_tensors, write_tensors

SUFFIX = ".partial"
_KIND = "step"

ResultT = TypeVar("ResultT")


def _say_nothing(line: str) -> None:
    """Of a run that nobody listens to."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Runs steps, or takes what an earlier run has stored of them.

    Attributes:
        folder: Where results of steps are; None stores nothing.
        resume: Whether results that are there already are taken.
        say: Told, in one line each, which steps are taken and which are run again.
        taken: Names of the steps that were taken, in order.
        fingerprints: Of what steps depend on.
    """

    folder: Path | None = None
    resume: bool = False
    say: Callable[[str], None] = _say_nothing
    taken: list[str] = field(default_factory=list[str])
    fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def run(
        self, name: str, depends: Mapping[str, object], compute: Callable[[], ResultT]
    ) -> ResultT:
        """The result of a step, in the form in which it would come back from a file.

        Args:
            name: Of the step, unique within a run, for people.
            depends: Everything that decides the result, by names for people.
            compute: The step.
        """
        if self.folder is None:
            return _settled(compute())
        path = self.folder / _file_name(name)
        try:
            key = self.fingerprints.of_all(depends)
        except TypeError as error:
            self.say(f"not stored ({error}): {name}")
            return _settled(compute())
        found = self._found(name, path, key)
        if found is None:
            return self._store(name, path, key, compute())
        self.taken.append(name)
        self.say(f"taken from the run before: {name}")
        return cast(ResultT, found[0])

    def _found(self, name: str, path: Path, key: Mapping[str, str]) -> tuple[object] | None:
        if not self.resume or not path.exists():
            return None
        try:
            stored, tensors = _read(path)
            other = _differing(key, stored["key"])
            if not other:
                return (unpack(stored["result"], tensors),)
        except (ResultError, ValueError, KeyError, TypeError):
            self.say(f"run again, what was stored is damaged: {name}")
            return None
        self.say(f"run again, {other} differs: {name}")
        return None

    def _store(self, name: str, path: Path, key: Mapping[str, str], result: ResultT) -> ResultT:
        packer = Packer()
        try:
            packed = packer.pack(result)
            about = {"key": key, "result": packed, "digest": digest(packed, packer.tensors)}
            write_tensors(path, packer.tensors, about, _KIND)
        except (TypeError, ResultError) as error:
            self.say(f"not stored ({str(error).rstrip('.')}): {name}")
            return _settled(result)
        return cast(ResultT, unpack(packed, packer.tensors))


UNSTORED = Steps()
"""Every step is run, and nothing is stored."""


@contextlib.contextmanager
def kept_steps(folder: Path, resume: bool, say: Callable[[str], None]) -> Generator[Steps]:
    """Steps of a run that writes to `folder`; `remove_steps` when its result is in place.

    Args:
        folder: Where the result of the run goes.
        resume: Whether steps of an earlier run are taken; without it they are only replaced.
        say: Told in one line what is found, and what is kept.
    """
    kept = _folder_of(folder)
    shown = folder.with_name(kept.name)
    if not resume and _stored_in(kept):
        say(f"steps in {shown} are left aside; --resume goes on from them")
    try:
        yield Steps(kept, resume, say)
    except BaseException:
        if _stored_in(kept):
            say(f"finished steps are kept in {shown}; go on with --resume")
        raise


def remove_steps(folder: Path) -> None:
    """Remove the steps of a run to `folder`, and where they were if that holds nothing else."""
    kept = _folder_of(folder)
    for path in _stored_in(kept):
        path.unlink(missing_ok=True)
    for path in kept.glob(".*.safetensors.*"):  # half a file of a run that was killed
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        kept.rmdir()


def _folder_of(folder: Path) -> Path:
    home = folder.resolve()
    return home.with_name(home.name + SUFFIX)


def _stored_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    loaded, about = read_tensors(path, _KIND)
    # As torch itself places them in memory: sums may depend on it in the last digit.
    tensors = {
        number: loaded[number].clone() for number in sorted(loaded, key=lambda number: int(number))
    }
    if about["digest"] != digest(about["result"], tensors):
        raise ResultError(f"{path} is damaged.")
    return about, tensors


def _differing(key: Mapping[str, str], stored: Mapping[str, str]) -> str:
    """Name of the first thing that is another; empty if all are the same."""
    names = dict.fromkeys([*key, *stored])
    return next((name for name in names if key.get(name) != stored.get(name)), "")


def _settled(result: ResultT) -> ResultT:
    """A result as it would come back from a file, where it can be stored."""
    packer = Packer()
    try:
        packed = packer.pack(result)
    except TypeError:
        return result
    return cast(ResultT, unpack(packed, packer.tensors))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name) + ".safetensors"
