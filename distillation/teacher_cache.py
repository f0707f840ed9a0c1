"""Logits of teachers, kept beside the runs, so that students of one teacher share them.

A file belongs to one teacher and one list of inputs: `<teacher>-<data>.safetensors`, named by the
beginnings of both digests and holding them whole, with the key of every example. When the weights,
the config or the tokenizer of the teacher change, or the inputs do, the digests do too, and the
logits are computed anew. A file that cannot be read, or holds other digests or keys, is replaced.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from behavior.inputs import ImageInput, Input

_KEY_BYTES = 16
_SHOWN = 16
_DESCRIBING = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    # What follows came later and stays last: folders without it keep their digests.
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "tokenizer.model",
)
_WEIGHTS = "model*.safetensors"


@dataclass(frozen=True, slots=True)
class TeacherCache:
    """Stored logits.

    Attributes:
        folder: Where they lie; made when something is stored.
    """

    folder: Path

    def logits(
        self,
        teacher: Path,
        inputs: Sequence[Input],
        compute: Callable[[], Float[Tensor, "item n_classes"]],
    ) -> Float[Tensor, "item n_classes"]:
        """Logits of a teacher's own classes for these inputs, computed where they are not stored.

        Args:
            teacher: Folder of the teacher.
            inputs: What it is asked.
            compute: Asks it.
        """
        keys = example_keys(inputs)
        digests = {"teacher": teacher_digest(teacher), "data": _digest_of_keys(keys)}
        path = self.folder / f"{'-'.join(each[:_SHOWN] for each in digests.values())}.safetensors"
        stored = _read(path, digests, keys)
        if stored is not None:
            return stored
        logits = compute()
        _write(path, digests, keys, logits)
        return logits


def example_keys(inputs: Sequence[Input]) -> Int[Tensor, "item 2"]:
    """What each input is, as 128 bits: two are equal where text or pixels are."""
    raw = b"".join(hashlib.blake2b(_bytes(x), digest_size=_KEY_BYTES).digest() for x in inputs)
    return torch.from_numpy(np.frombuffer(raw, dtype="<i8").reshape(-1, 2).astype(np.int64))


def teacher_digest(folder: Path) -> str:
    """SHA-256 of a model folder: weights, config, tokenizer or image processor."""
    return _digest_of_files([*sorted(folder.glob(_WEIGHTS)), *_describing(folder)])


def settings_digest(folder: Path) -> str:
    """SHA-256 of what a model folder holds beside weights: config, tokenizer, image processor."""
    return _digest_of_files(_describing(folder))


def _describing(folder: Path) -> list[Path]:
    return [folder / name for name in _DESCRIBING]


def _digest_of_files(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.name}\0".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _bytes(x: Input) -> bytes:
    if isinstance(x, ImageInput):
        pixels = x.pixels()
        return repr(pixels.shape).encode() + pixels.tobytes()
    return json.dumps([x.text, x.hypothesis]).encode()


def _digest_of_keys(keys: Int[Tensor, "item 2"]) -> str:
    return hashlib.sha256(keys.numpy().tobytes()).hexdigest()


def _read(
    path: Path, digests: dict[str, str], keys: Int[Tensor, "item 2"]
) -> Float[Tensor, "item n_classes"] | None:
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata() != digests or not torch.equal(file.get_tensor("keys"), keys):
                return None
            return file.get_tensor("logits")
    except (OSError, SafetensorError):
        return None


def _write(
    path: Path, digests: dict[str, str], keys: Int[Tensor, "item 2"], logits: Tensor
) -> None:
    """Written beside its place and moved there; a folder that cannot be written loses nothing."""
    staged = path.with_name(f"{path.name}.{os.getpid()}.new")
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"keys": keys, "logits": logits.contiguous()}, staged, metadata=digests)
        staged.replace(path)
