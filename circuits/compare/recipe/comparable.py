"""Whether runs are seeds of one recipe: the same task, roles, sizes and settings.

What may differ is what a seed changes: the checkpoints and the seed. How a run was computed
(device, batch size, the check on load) may differ as well. One student may count once only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from behavior.errors import ResultError
from circuits.compare.reading import branch, cells, roles, text
from circuits.compare.storage import Json, read_result

FREE = (
    *("teacher", "student", "teacher_plain", "student_plain", "student_debiased", "checkpoints"),
    *("teacher_twins", "student_twins"),
    *("seed", "device", "batch_size", "check", "task"),
)
"""Fields of the config that may differ; the task is compared as it was opened."""
_SIZES = ("n_layers", "n_decoder_layers", "n_heads", "d_model", "n_classes")


@dataclass(frozen=True, slots=True)
class Run:
    """One seed: a stored comparison.

    Attributes:
        folder: Where it lies.
        result: Its `result.json`.
    """

    folder: Path
    result: Json

    def digest(self, role: str) -> str:
        """Of the weights of one role; empty without it."""
        return text(self.result, "models", role, "digest")


def read_runs(folders: Sequence[Path]) -> tuple[Run, ...]:
    """The runs, if they are seeds of one recipe.

    Raises:
        ResultError: If a folder holds no result, or two are not comparable; the message names
            what differs.
    """
    runs = tuple(Run(folder, read_result(folder)[0]) for folder in folders)
    for run in runs:
        if not cells(run.result):
            raise ResultError(
                f"The data of {run.folder} hold no quads, so there are no losses to pool. Give "
                "runs on quads."
            )
    for run in runs[1:]:
        _refuse_different(runs[0], run)
    for i, run in enumerate(runs):
        for other in runs[:i]:
            if run.digest("student") == other.digest("student"):
                raise ResultError(
                    f"{other.folder} and {run.folder} are about the same student; a seed counts "
                    "once. Give one run for each seed."
                )
    return runs


def shared_roles(runs: Sequence[Run]) -> tuple[str, ...]:
    """Roles that one and the same model plays in two runs or more."""
    return tuple(
        role
        for role in roles(runs[0].result)
        if len({run.digest(role) for run in runs}) < len(runs)
    )


def _refuse_different(first: Run, other: Run) -> None:
    for name, one, two in _differences(_described(first.result), _described(other.result)):
        raise ResultError(
            f"{first.folder} and {other.folder} are not seeds of one recipe: {name} is {one} in "
            f"the first and {two} in the other. Give runs that differ in checkpoints and seed only."
        )


def _described(result: Mapping[str, object]) -> dict[str, str]:
    """What has to be the same, by its name for people."""
    config, task = branch(result, "config"), branch(result, "task")
    present = roles(result)
    said = {
        "the version of the result": text(result, "schema_version"),
        "the task": str(task.get("name")),
        "the labels": ", ".join(cast("list[str]", task.get("labels") or [])),
        "the set of roles": ", ".join(present),
    }
    for role in present:
        model = branch(result, "models", role)
        said[f"the family of the {role}"] = str(model.get("family"))
        for size in _SIZES:
            said[f"{size} of the {role}"] = str(branch(model, "spec").get(size))
    return said | {name: str(value) for name, value in config.items() if name not in FREE}


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[tuple[str, str, str]]:
    missing = "not set"
    names = dict.fromkeys([*one, *other])
    return [
        (name, one.get(name, missing), other.get(name, missing))
        for name in names
        if one.get(name, missing) != other.get(name, missing)
    ]
