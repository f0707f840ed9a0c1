"""Names for models: reads and validates `checkpoints.yaml`.

    version: 1
    checkpoints:
      student:
        path: checkpoints/student          # or hub: org/name, with an optional revision
        role: student
        teacher: teacher
        companions: {teacher_plain: teacher-plain, student_plain: student-plain}
        task: nli-overlap
        description: Distilled from the debiased teacher.
        prompt: "mnli premise: {premise} hypothesis: {hypothesis}"    # one text of each input
        label_words: {entailment: "yes", contradiction: "no"}         # or a list, in their order

The last two are for models that read a prompt and answer with words; see `load_checkpoint`.
Relative paths are relative to the file; absolute paths and `~` work; environment variables are
not expanded. A reference is looked up in this order: a name in the file, a local folder, a hub
id (`org/name`, optionally `@revision`). `./teacher` always means the folder. The record of its
training in a folder (`training.json`) names the task, where the task is not read from files.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from behavior.errors import CheckpointError
from patching.models.prompts import Prompt
from patching.models.yamlfile import Entry, read_mapping

Role = Literal["teacher_plain", "teacher", "student_plain", "student_debiased", "student"]

ROLES: tuple[Role, ...] = get_args(Role)
FILE_NAME = "checkpoints.yaml"

_TOP_KEYS = ("version", "checkpoints")
_KEYS = (
    *("path", "hub", "revision", "role", "teacher", "companions", "task", "description"),
    *("prompt", "label_words"),
)
_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a model lies, and what it is to others.

    Attributes:
        name: As listed in the file, or the folder's or hub id's own name.
        folder: Local Hugging Face folder; None for a model on the hub.
        hub: Hub id `org/name`; None for a local folder.
        revision: Branch, tag or commit on the hub; None for the default branch.
        role: What the model is in a comparison, if the file says so.
        teacher: Name of the model it was distilled from, if the file says so.
        companions: Names of models to compare it with, by role.
        task: Name of the task it was trained on, if the file or the training's record says so.
        description: Free text.
        prompt: Template that makes one text of each input, if the file says so.
        label_words: Class name -> word, or the words in the order of the classes, if the file
            says so.
    """

    name: str
    folder: Path | None = None
    hub: str | None = None
    revision: str | None = None
    role: Role | None = None
    teacher: str | None = None
    companions: Mapping[Role, str] | None = None
    task: str | None = None
    description: str = ""
    prompt: str | None = None
    label_words: Mapping[str, str] | tuple[str, ...] | None = None

    @property
    def location(self) -> str:
        """The folder, or the hub id with its revision."""
        if self.folder is not None:
            return str(self.folder)
        return f"{self.hub}@{self.revision}" if self.revision else str(self.hub)


def resolve_checkpoint(reference: str | Path, checkpoints: Path | None = None) -> Checkpoint:
    """What a name, a folder or a hub id stands for. Loads no weights.

    Args:
        reference: A name in the file, a folder, or `org/name[@revision]`.
        checkpoints: The file to look names up in. By default `checkpoints.yaml` of the working
            folder, else the one beside the installed packages.

    Raises:
        CheckpointError: If the file is malformed, or the reference is none of the three.
    """
    text = str(reference)
    path = checkpoints if checkpoints is not None else find_checkpoint_file()
    known = read_checkpoints(path) if path is not None else {}
    if text in known:
        return _existing(known[text], text, cast(Path, path))
    folder = _from_home(text)
    if folder is not None and os.path.isdir(folder):  # noqa: PTH112  (False for a name too long)
        return Checkpoint(name=folder.resolve().name, folder=folder, task=_trained_on(folder))
    match = _HUB_ID.fullmatch(text)
    if match is not None and not text.startswith((".", "/", "~")):
        return Checkpoint(name=text, hub=match["id"], revision=match["revision"])
    raise CheckpointError(_unknown(text, tuple(known), path))


def read_checkpoints(path: Path) -> dict[str, Checkpoint]:
    """All checkpoints of a file, by name. Does not look whether their folders exist.

    Raises:
        CheckpointError: If the file cannot be read or breaks the schema; the message names the
            line.
    """
    top = read_mapping(path)
    top.only(_TOP_KEYS)
    version = top.require("version")
    if version.value != 1 or isinstance(version.value, bool):
        raise version.error(f"version {version.describe()} is not known; expected version: 1")
    entries = top.require("checkpoints").mapping()
    return {
        name: _read_one(name, entry, path.parent, tuple(entries)) for name, entry in entries.items()
    }


def find_checkpoint_file() -> Path | None:
    """`checkpoints.yaml` of the working folder, else of the repository, else None."""
    places = (Path.cwd(), Path(__file__).resolve().parents[2])
    return next((place / FILE_NAME for place in places if (place / FILE_NAME).is_file()), None)


def _trained_on(folder: Path) -> str | None:
    """The task in the record of a training; None without one, and for data from files."""
    try:
        data = json.loads((folder / "training.json").read_text("utf-8"))["recipe"]["data"]
        task, options = data["task"], data.get("options") or {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return task if isinstance(task, str) and not {"path", "parts"} & set(options) else None


def _read_one(name: str, entry: Entry, base: Path, names: tuple[str, ...]) -> Checkpoint:
    entry.only(_KEYS)
    fields = entry.mapping()
    if ("path" in fields) == ("hub" in fields):
        raise entry.error(f"checkpoint {name!r} needs either a path or a hub id, and not both")
    if "revision" in fields and "path" in fields:
        raise fields["revision"].error("revision belongs to a hub id; a path has none")
    return Checkpoint(
        name=name,
        folder=_folder(fields["path"], base) if "path" in fields else None,
        hub=_hub_id(fields["hub"]) if "hub" in fields else None,
        revision=_text(fields.get("revision")),
        role=_role(fields["role"]) if "role" in fields else None,
        teacher=_name(fields["teacher"], names) if "teacher" in fields else None,
        companions=_companions(fields["companions"], names) if "companions" in fields else None,
        task=_text(fields.get("task")),
        description=_text(fields.get("description")) or "",
        prompt=_prompt(fields["prompt"]) if "prompt" in fields else None,
        label_words=_label_words(fields["label_words"]) if "label_words" in fields else None,
    )


def _text(entry: Entry | None) -> str | None:
    return None if entry is None else entry.text()


def _folder(entry: Entry, base: Path) -> Path:
    text = entry.text()
    if "$" in text:
        raise entry.error(
            f"environment variables are not expanded (in {text!r}); write the path itself, "
            "absolute, relative to this file, or from ~"
        )
    folder = _from_home(text)
    if folder is None:
        raise entry.error(f"{text!r} starts from the home of a user that is not known here")
    return base / folder


def _from_home(text: str) -> Path | None:
    """A path with `~` expanded, or None if there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return None


def _hub_id(entry: Entry) -> str:
    text = entry.text()
    match = _HUB_ID.fullmatch(text)
    if match is None or match["revision"]:
        raise entry.error(f"{text!r} is not a hub id; expected org/name, and revision beside it")
    return text


def _role(entry: Entry) -> Role:
    return _as_role(entry.text(), entry)


def _as_role(text: str, entry: Entry) -> Role:
    if text not in ROLES:
        raise entry.error(f"unknown role {text!r}; expected one of {', '.join(ROLES)}")
    return text


def _name(entry: Entry, names: tuple[str, ...]) -> str:
    text = entry.text()
    if text not in names:
        raise entry.error(f"{text!r} is not a checkpoint of this file ({', '.join(names)})")
    return text


def _companions(entry: Entry, names: tuple[str, ...]) -> dict[Role, str]:
    return {
        _as_role(role, companion): _name(companion, names)
        for role, companion in entry.mapping().items()
    }


def _prompt(entry: Entry) -> str:
    text = entry.text()
    try:
        Prompt.parse(text)
    except CheckpointError as error:
        raise entry.error(str(error).rstrip(".")) from error
    return text


def _label_words(entry: Entry) -> dict[str, str] | tuple[str, ...]:
    if entry.is_list:
        return tuple(word.text() for word in entry.items())
    return {name: word.text() for name, word in entry.mapping().items()}


def _existing(checkpoint: Checkpoint, name: str, path: Path) -> Checkpoint:
    if checkpoint.folder is None or checkpoint.folder.is_dir():
        return checkpoint
    entry = read_mapping(path).require("checkpoints").mapping()[name].mapping()["path"]
    raise entry.error(f"the folder of {name!r} does not exist: {checkpoint.folder}")


def _unknown(text: str, names: tuple[str, ...], path: Path | None) -> str:
    close = difflib.get_close_matches(text, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    listed = f"{path} has {', '.join(names)}" if path else f"no {FILE_NAME} was found"
    return (
        f"{text!r} is neither a name, a local folder nor a hub id (org/name); {listed}.{hint} "
        f"Give one of these, the path of a Hugging Face folder, or add the name to {FILE_NAME}."
    )
