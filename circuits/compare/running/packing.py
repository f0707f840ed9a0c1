"""Nested results as JSON and tensors, and back: what a finished step is stored as.

Everything that the steps return is made of frozen dataclasses, mappings, sequences, plain values,
tensors and arrays. Each becomes a tagged JSON value; tensors and arrays are put aside under a
number. Only dataclasses of these packages that are imported already are made again, so that a file
can never make anything else happen, as a pickle could.

Floats survive exactly, in JSON (shortest form that reads back the same) as in tensors. What comes
back is contiguous: a result is passed on as it comes back even when it was not read from a file,
so that a run gives the same sums whether or not it was resumed.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

PACKAGES = ("behavior", "patching", "probes", "circuits")

Tensors = dict[str, Tensor]


class Packer:
    """Packs values; the tensors met on the way gather in `tensors`.

    Args:
        of_path: What stands for a file; without it files cannot be packed.
    """

    def __init__(self, of_path: Callable[[Path], object] | None = None) -> None:
        self.tensors: Tensors = {}
        self._of_path = of_path

    def pack(self, value: object) -> object:
        """A JSON value.

        Raises:
            TypeError: If the value, or something in it, is of another kind.
        """
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, float | int | np.generic):
            return _plain(value)
        if isinstance(value, Tensor | np.ndarray):
            return self._aside(value)
        if isinstance(value, Path) and self._of_path is not None:
            return {"file": self._of_path(value)}
        return self._nested(value)

    def _nested(self, value: object) -> object:
        if isinstance(value, tuple | list):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [self.pack(entry) for entry in cast("list[object]", value)]}
        if isinstance(value, Mapping):
            entries = cast("Mapping[object, object]", value).items()
            return {"mapping": [[self.pack(key), self.pack(entry)] for key, entry in entries]}
        if is_dataclass(value) and _class_named(_name_of(type(value))) is type(value):
            stored = {each.name: self.pack(getattr(value, each.name)) for each in fields(value)}
            return {"record": _name_of(type(value)), "fields": stored}
        raise TypeError(f"a {type(value).__name__} cannot be stored")

    def _aside(self, value: Tensor | np.ndarray) -> object:
        is_tensor = isinstance(value, Tensor)
        if is_tensor and value.device.type != "cpu":
            raise TypeError(f"a tensor on {value.device} cannot be stored")
        copy = (
            value.detach().clone(memory_format=torch.contiguous_format)
            if is_tensor
            else torch.from_numpy(np.array(value, order="C"))
        )
        number = str(len(self.tensors))
        self.tensors[number] = copy
        return {"tensor" if is_tensor else "array": number}


def unpack(packed: object, tensors: Mapping[str, Tensor]) -> Any:
    """What `Packer.pack` was given; every named tuple is a tuple, every mapping a dict.

    Raises:
        ValueError: If this is nothing that was packed, or not by this version.
    """
    if not isinstance(packed, dict):
        return packed
    given = cast("dict[str, Any]", packed)
    match next(iter(given), ""):
        case "tensor":
            return tensors[given["tensor"]]
        case "array":
            return tensors[given["array"]].numpy()
        case "tuple":
            return tuple(unpack(entry, tensors) for entry in given["tuple"])
        case "list":
            return [unpack(entry, tensors) for entry in given["list"]]
        case "mapping":
            entries = cast("list[list[object]]", given["mapping"])
            return {unpack(key, tensors): unpack(entry, tensors) for key, entry in entries}
        case "record":
            return _record(given, tensors)
        case other:
            raise ValueError(f"{other!r} is no kind of stored value")


def digest(packed: object, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a packed value: of its text, and of type, shape and bytes of its tensors."""
    total = hashlib.sha256(json.dumps(packed).encode())
    for number, tensor in tensors.items():
        total.update(f"{number} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _record(given: dict[str, Any], tensors: Mapping[str, Tensor]) -> object:
    found = _class_named(str(given["record"]))
    if found is None:
        raise ValueError(f"{given['record']} is no result of this version")
    stored = cast("dict[str, object]", given["fields"])
    try:
        return found(**{name: unpack(entry, tensors) for name, entry in stored.items()})
    except TypeError as error:
        raise ValueError(f"{given['record']} has other fields in this version") from error


def _plain(value: object) -> object:
    """Numbers of numpy as Python's own."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float | int):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class_named(name: str) -> type | None:
    """A dataclass of these packages, if its module is imported."""
    module, _, kind = name.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        return None
    found = getattr(sys.modules.get(module), kind, None)
    return found if isinstance(found, type) and is_dataclass(found) else None
