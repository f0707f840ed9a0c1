"""YAML whose errors name the file and the line.

Works on the parsed nodes rather than on constructed objects, because these remember their lines,
and because duplicate keys are still visible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from behavior.errors import CheckpointError


@dataclass(frozen=True)
class Entry:
    """One value of a YAML file, with the place it stands at.

    Attributes:
        node: The parsed node.
        path: The file.
        key: What the value belongs to, for messages; empty at the top.
        key_node: The parsed key; None at the top.
    """

    node: yaml.Node
    path: Path
    key: str = ""
    key_node: yaml.Node | None = None

    @property
    def value(self) -> object:
        """The value as Python, or None for a mapping or a list.

        Raises:
            CheckpointError: If it is no value of the type that its form or its tag promises.
        """
        if not isinstance(self.node, yaml.ScalarNode):
            return None
        try:
            return yaml.SafeLoader("").construct_object(self.node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(
                f"{self.node.value!r} cannot be read as {self.node.tag.rpartition(':')[2]}; put "
                "it in quotes if it is text"
            ) from error

    def error(self, message: str) -> CheckpointError:
        """An error that starts with the file and the line of the key."""
        line = (self.key_node or self.node).start_mark.line + 1
        return CheckpointError(f"{self.path}, line {line}: {message}.")

    def text(self) -> str:
        """The value, which must be text.

        Raises:
            CheckpointError: If it is a number, a list, a mapping or empty.
        """
        value = self.value
        if isinstance(value, str) and value.strip():
            return value
        is_other = isinstance(self.node, yaml.ScalarNode) and not isinstance(value, str | None)
        advice = "; put it in quotes" if is_other else ""
        raise self.error(f"{self.key} must be text, but is {self.describe()}{advice}")

    def mapping(self) -> dict[str, "Entry"]:
        """The values below, by key.

        Raises:
            CheckpointError: If this is no mapping, or a key is not text or stands twice.
        """
        if not isinstance(self.node, yaml.MappingNode):
            subject = self.key or "the file"
            raise self.error(f"{subject} must be a mapping (key: value), but is {self.describe()}")
        found: dict[str, Entry] = {}
        for key_node, value_node in self.node.value:
            key = Entry(key_node, self.path, "a key").text()
            if key in found:
                raise Entry(key_node, self.path).error(
                    f"the key {key!r} stands twice; remove one of them"
                )
            found[key] = Entry(value_node, self.path, key, key_node)
        return found

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    def items(self) -> list["Entry"]:
        """The values of a list; none if this is no list."""
        if not isinstance(self.node, yaml.SequenceNode):
            return []
        return [Entry(node, self.path, f"a value of {self.key}") for node in self.node.value]

    def only(self, known: Sequence[str]) -> None:
        """Refuse keys that are not known.

        Raises:
            CheckpointError: If there is one; the message lists the known ones.
        """
        for key, entry in self.mapping().items():
            if key not in known:
                raise entry.error(f"unknown key {key!r}; expected some of {', '.join(known)}")

    def require(self, key: str) -> "Entry":
        """The value of a key that must be there.

        Raises:
            CheckpointError: If it is missing.
        """
        found = self.mapping()
        if key not in found:
            raise self.error(f"the key {key!r} is missing")
        return found[key]

    def describe(self) -> str:
        """What the value is, for messages: as it is written, or `a list`, `a mapping`."""
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        value = self.value
        if value is None:
            return "nothing"
        return repr(value) if isinstance(value, str) else str(self.node.value)


def read_mapping(path: Path) -> Entry:
    """The top mapping of a YAML file.

    Raises:
        CheckpointError: If the file is missing, empty, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"Cannot read {path}: it is not UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise CheckpointError(f"{path}, line {line}: not valid YAML ({error.problem}).") from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is not valid YAML ({reason}).") from error
    if node is None:
        raise CheckpointError(f"{path} is empty. Expected version: 1 and checkpoints.")
    entry = Entry(node, path)
    entry.mapping()
    return entry
