"""Opens checkpoints: finds the files, refuses what cannot be trusted, loads, checks.

Weights come from safetensors only, nothing is unpickled, and no code of a checkpoint is run.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from behavior.errors import CheckpointError, UnsupportedModelError
from patching.models.architecture import Architecture
from patching.models.checkpoints import Checkpoint, resolve_checkpoint
from patching.models.families import find_architecture
from patching.models.model import PatchableModel
from patching.models.selfcheck import check_model

DType = Literal["float32", "float64"]

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
_DOWNLOADED = ["*.json", "*.txt", "*.model", "model*.safetensors"]


def load_checkpoint(
    reference: str | Path,
    *,
    checkpoints: Path | None = None,
    device: str = "cpu",
    dtype: DType = "float32",
    check: bool = True,
) -> PatchableModel:
    """Open a name of `checkpoints.yaml`, a local Hugging Face folder or a hub id.

    Args:
        reference: `teacher`, `path/to/folder`, `org/name` or `org/name@revision`.
        checkpoints: File to look names up in; see `resolve_checkpoint`.
        device: As torch names it.
        dtype: Precision. Half precisions are not offered: patching effects are differences of
            nearly equal logits, which they get wrong by a tenth and more.
        check: Run the self-check of `patching.models.selfcheck`.

    Raises:
        CheckpointError: If the checkpoint cannot be found, read or trusted.
        UnsupportedModelError: If its family or its head is not supported.
        SelfCheckError: If its family's declaration does not describe it.
    """
    where = _device(device)
    if dtype not in get_args(DType):
        raise CheckpointError(f"Unknown dtype {dtype!r}; expected float32 or float64.")
    checkpoint = resolve_checkpoint(reference, checkpoints)
    folder = checkpoint.folder if checkpoint.folder is not None else _download(checkpoint)
    architecture = _read_architecture(folder)
    weights = _weight_files(folder)
    hf = _load_weights(folder, architecture, getattr(torch, dtype))
    nn.Module.to(hf, where)
    tokenizer = _load_tokenizer(folder, hf.config.vocab_size)
    digest = _digest([*weights, folder / "config.json"])
    model = PatchableModel(hf, tokenizer, architecture, checkpoint.name, digest)
    if check:
        check_model(model)
    return model


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise CheckpointError(f"No device {name!r} here; this machine has: {found}.") from error
    return device


def _download(checkpoint: Checkpoint) -> Path:
    try:
        folder = huggingface_hub.snapshot_download(
            cast(str, checkpoint.hub),
            revision=checkpoint.revision,
            allow_patterns=_DOWNLOADED,
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{checkpoint.location!r} is no folder here, and could not be fetched as a hub id "
            f"({type(error).__name__}). Check the spelling and the network, or give the path of "
            "a folder."
        ) from error
    return Path(folder)


def _read_architecture(folder: Path) -> Architecture:
    config = _read_json(folder / "config.json")
    tokenizer_file = folder / "tokenizer_config.json"
    tokenizer = _read_json(tokenizer_file) if tokenizer_file.is_file() else {}
    if "auto_map" in config or "auto_map" in tokenizer:
        raise UnsupportedModelError(
            f"{folder} asks to run code of its own (auto_map), which is never done. Use a model "
            "class that transformers has."
        )
    classes: object = config.get("architectures") or []
    if not isinstance(classes, list):
        raise CheckpointError(
            f"{folder / 'config.json'} has {classes!r} as architectures; expected a list with the "
            "name of the model's class."
        )
    named = [str(name) for name in cast("list[object]", classes)]
    architecture = find_architecture(str(config.get("model_type")), named)
    for key in ("is_decoder", "add_cross_attention"):
        if config.get(key):
            raise UnsupportedModelError(
                f"{folder} is set up as a decoder ({key} in config.json); expected an encoder."
            )
    return architecture


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} holds no {path.name}. Expected a Hugging Face folder, as "
            "save_pretrained writes it: config.json, model.safetensors and the tokenizer."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return cast("dict[str, Any]", content)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files, in a fixed order."""
    if not any((folder / name).is_file() for name in _WEIGHTS):
        if any((folder / name).is_file() for name in _PICKLES):
            raise CheckpointError(
                f"{folder} holds pickled weights only, which are never opened. If you trust "
                "them, convert once: load the folder with transformers' "
                "AutoModelForSequenceClassification.from_pretrained and write it again with "
                "save_pretrained, which makes model.safetensors."
            )
        raise CheckpointError(f"{folder} holds no weights. Expected model.safetensors.")
    return sorted(folder.glob("model*.safetensors"))


def _load_weights(folder: Path, architecture: Architecture, dtype: torch.dtype) -> PreTrainedModel:
    model_class: Any = getattr(transformers, architecture.model_class)
    try:
        hf, info = model_class.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (
        KeyError,
        OSError,
        RuntimeError,
        SafetensorError,
        StrictDataclassError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"The model in {folder} cannot be loaded ({type(error).__name__}): {reason[:300]}"
        ) from error
    _check_weights(folder, architecture, info)
    for name, weight in hf.state_dict().items():
        if not torch.isfinite(weight).all():
            raise CheckpointError(
                f"The weights in {folder} hold NaN or infinity in {name!r}. The training has "
                "diverged; use an earlier checkpoint."
            )
    if hf.config.num_labels < 2:
        raise UnsupportedModelError(
            f"{folder} has one output, so there is no margin. Expected two classes or more."
        )
    if getattr(hf.config, architecture.n_layers) < 1:
        raise UnsupportedModelError(f"{folder} has no layers. Expected one or more.")
    return hf


def _check_weights(folder: Path, architecture: Architecture, info: dict[str, Any]) -> None:
    """Refuse weights that are not those of the model that config.json describes."""
    if mismatched := sorted(info["mismatched_keys"]):
        name, stored, configured = mismatched[0]
        raise CheckpointError(
            f"The weights in {folder} do not fit its config.json: {name!r} is "
            f"{list(stored)}, but should be {list(configured)} ({len(mismatched)} differ in all). "
            "They do not belong together."
        )
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"The weights in {folder} lack {missing[0]!r} ({len(missing)} missing in all). "
            f"Expected a whole {architecture.model_class}: save it again after fine-tuning."
        )
    unused = sorted(
        name for name in info["unexpected_keys"] if name.startswith(f"{architecture.layers}.")
    )
    if unused:
        raise CheckpointError(
            f"The weights in {folder} hold {unused[0]!r}, of which config.json knows nothing "
            f"({len(unused)} such in all). They do not belong together."
        )


def _load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise CheckpointError(
            f"{folder} holds no tokenizer. Expected {_TOKENIZERS[0]} or {_TOKENIZERS[1]}: write "
            "it with tokenizer.save_pretrained(folder)."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {reason}") from error
    if len(tokenizer) > vocabulary:
        raise CheckpointError(
            f"The tokenizer in {folder} knows {len(tokenizer)} tokens, the model {vocabulary}. "
            "They do not belong together."
        )
    return tokenizer


def _digest(files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
