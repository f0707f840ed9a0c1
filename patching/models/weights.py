"""Loads weights from safetensors only, and refuses those that config.json does not describe."""

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from behavior.errors import CheckpointError, UnsupportedModelError
from patching.models.architecture import Architecture

LOAD_ERRORS = (
    KeyError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What transformers and safetensors raise on files that do not fit together."""

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a whole model in safetensors."""
    return any((folder / name).is_file() for name in _WEIGHTS)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files, in a fixed order.

    Raises:
        CheckpointError: If there are none.
    """
    if not has_weights(folder):
        if any((folder / name).is_file() for name in _PICKLES):
            raise CheckpointError(
                f"{folder} holds pickled weights only, which are never opened. If you trust "
                "them, convert once: load the folder with the from_pretrained of its transformers "
                "class and write it again with save_pretrained, which makes model.safetensors."
            )
        raise CheckpointError(f"{folder} holds no weights. Expected model.safetensors.")
    return sorted(folder.glob("model*.safetensors"))


def load_weights(
    folder: Path,
    architecture: Architecture,
    dtype: torch.dtype,
    *,
    config: PreTrainedConfig | None = None,
    supplied: Collection[str] = (),
) -> PreTrainedModel:
    """The transformers model in a folder.

    Args:
        folder: Hugging Face folder.
        architecture: Declaration of its class.
        dtype: Precision.
        config: In place of the folder's own.
        supplied: Names of weights that may be missing, because they come from elsewhere.

    Raises:
        CheckpointError: If it cannot be loaded, or weights and config do not belong together.
        UnsupportedModelError: If it has too few outputs or layers.
    """
    model_class: Any = getattr(transformers, architecture.model_class)
    try:
        hf, info = model_class.from_pretrained(
            folder,
            **({} if config is None else {"config": config}),
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except LOAD_ERRORS as error:
        raise cannot_load(folder, error) from error
    _check_sizes(folder, architecture, hf)
    _check_keys(folder, architecture, info, supplied)
    return hf


def cannot_load(folder: Path, error: Exception) -> CheckpointError:
    """An error of transformers in one line."""
    reason = " ".join(str(error).split())
    return CheckpointError(
        f"The model in {folder} cannot be loaded ({type(error).__name__}): {reason[:300]}"
    )


def check_finite(hf: PreTrainedModel, folder: Path) -> None:
    """Refuse weights that are no numbers.

    Raises:
        CheckpointError: If there are some; the message names the weight.
    """
    for name, weight in hf.state_dict().items():
        if not torch.isfinite(weight).all():
            raise CheckpointError(
                f"The weights in {folder} hold NaN or infinity in {name!r}. The training has "
                "diverged; use an earlier checkpoint."
            )


def digest_files(files: Sequence[Path]) -> str:
    """SHA-256 of the contents of files, in their order."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _check_keys(
    folder: Path, architecture: Architecture, info: dict[str, Any], supplied: Collection[str]
) -> None:
    """Refuse weights that are not those of the model that config.json describes."""
    mismatched = sorted(key for key in info["mismatched_keys"] if key[0] not in supplied)
    if mismatched:
        name, stored, configured = mismatched[0]
        raise CheckpointError(
            f"The weights in {folder} do not fit its config.json: {name!r} is "
            f"{list(stored)}, but should be {list(configured)} ({len(mismatched)} differ in all). "
            "They do not belong together."
        )
    if missing := sorted(set(info["missing_keys"]) - set(supplied)):
        _refuse_tied(folder, missing[0])
        raise CheckpointError(
            f"The weights in {folder} lack {missing[0]!r} ({len(missing)} missing in all). "
            f"Expected a whole {architecture.model_class}: save it again after fine-tuning."
        )
    layers = [_pattern(stack.layers) for stack in architecture.stacks]
    unused = sorted(
        name for name in info["unexpected_keys"] if any(each.match(name) for each in layers)
    )
    if unused:
        raise CheckpointError(
            f"The weights in {folder} hold {unused[0]!r}, of which config.json knows nothing "
            f"({len(unused)} such in all). They do not belong together."
        )


def _refuse_tied(folder: Path, missing: str) -> None:
    """Weights that two parts of a model share, of which safetensors keeps one and notes the other.

    The embeddings that a class ties itself are not missing; those of layers would be.
    """
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as weights:
            shared = (weights.metadata() or {}).get(missing)
        if shared is not None:
            raise UnsupportedModelError(
                f"The weights in {folder} tie {missing!r} to {shared!r}, so these cannot be "
                "patched apart; expected weights of its own for each part. Give it a copy of them "
                "and save the model again."
            )


def _pattern(layers: str) -> re.Pattern[str]:
    """What the names of all weights in a list of layers start with."""
    return re.compile(re.escape(layers).replace(r"\*", r"\d+") + r"\.")


def _check_sizes(folder: Path, architecture: Architecture, hf: PreTrainedModel) -> None:
    config: Any = hf.config
    if not architecture.label_words and config.num_labels < 2:
        raise UnsupportedModelError(
            f"{folder} has one output, so there is no margin. Expected two classes or more."
        )
    fields = [stack.n_layers for stack in architecture.stacks if stack.n_layers is not None]
    if any(getattr(config, name) < 1 for name in fields):
        raise UnsupportedModelError(f"{folder} has no layers. Expected one or more.")
