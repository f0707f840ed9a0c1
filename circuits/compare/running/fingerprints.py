"""What a step depends on, as short digests: models, data, settings, and the code itself.

A model is known by its weights and config, by its tokenizer or image processor, its prompt and
label words, and by how it runs (precision, device, backend). Data are known by their contents, an
image in a file by the bytes of that file. The code is known by every source file of the packages
and by the versions of the libraries that compute.

Left out are the number of threads and the processor: they change the last digits, and nothing else.
"""

import functools
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from transformers import BaseImageProcessor

from circuits.compare.running.packing import PACKAGES, Packer, digest
from patching import PatchableModel

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "scikit-learn", "pillow")


class Fingerprints:
    """Digests of what steps depend on; each model's is taken once."""

    def __init__(self) -> None:
        self._models: dict[int, tuple[PatchableModel, str]] = {}

    def of_all(self, depends: Mapping[str, object]) -> dict[str, str]:
        """A digest for each thing by its name, and one of the code.

        Raises:
            TypeError: If something is neither a model nor can be packed.
        """
        return {"code": code_digest()} | {name: self.of(each) for name, each in depends.items()}

    def of(self, value: object) -> str:
        """Digest of a model, or of a value and all that is in it.

        Raises:
            TypeError: As `of_all`.
        """
        if isinstance(value, PatchableModel):
            # With the model itself beside it: the number of one that is gone may come again.
            if id(value) not in self._models:
                self._models[id(value)] = value, _weights(value)
            return digest([self._models[id(value)][1], type(value.backend).__name__], {})
        packer = Packer(of_path=_file)
        return digest(packer.pack(value), packer.tensors)


@functools.cache
def code_digest() -> str:
    """SHA-256 of the sources of the packages and the versions of the libraries."""
    home = Path(__file__).resolve().parents[3]
    total = hashlib.sha256(platform.python_version().encode())
    for library in _LIBRARIES:
        total.update(f"{library} {_version(library)}\n".encode())
    for package in PACKAGES:
        for path in sorted((home / package).rglob("*.py")):
            total.update(f"{path.relative_to(home)} {_file(path)}\n".encode())
    return total.hexdigest()


def _weights(model: PatchableModel) -> str:
    prompt = getattr(model.encoder, "prompt", None)
    about = [
        model.name,
        model.digest or _state(model),
        _processor(model),
        None if prompt is None else prompt.template,
        None if model.word_ids is None else [int(token) for token in model.word_ids],
        list(model.spec.classes),
        str(model.device),
        str(model.dtype),
    ]
    return digest(about, {})


def _state(model: PatchableModel) -> str:
    """Of a model that does not come from files."""
    state = {name: value.detach().cpu() for name, value in model.hf.state_dict().items()}
    return digest(model.hf.config.to_json_string(), {n: t.contiguous() for n, t in state.items()})


def _processor(model: PatchableModel) -> str:
    if isinstance(model.processor, BaseImageProcessor):
        return model.processor.to_json_string()
    tokenizer = model.processor
    fast = getattr(tokenizer, "backend_tokenizer", None)
    words = fast.to_str() if fast is not None else repr(sorted(tokenizer.get_vocab().items()))
    return f"{type(tokenizer).__name__} {tokenizer.model_max_length} {words}"


def _file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
