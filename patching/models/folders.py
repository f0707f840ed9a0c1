"""Finds the folders of a checkpoint: one for all, or an adapter's and its base model's."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from behavior.errors import CheckpointError
from patching.models.adapters import CONFIG, Adapter, read_adapter
from patching.models.architecture import Architecture
from patching.models.checkpoints import Checkpoint, resolve_checkpoint
from patching.models.configs import choose_architecture, read_config
from patching.models.processors import has_processor
from patching.models.weights import digest_files, has_weights, weight_files

_DOWNLOADED = ["*.json", "*.txt", "*.model", "model*.safetensors", "adapter_model.safetensors"]


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """Where the parts of a checkpoint lie: all in one folder, unless it is an adapter.

    Attributes:
        weights: Folder of the weights, but for the adapter's.
        config: Folder of the config.json that counts.
        processor: Folder of the tokenizer or image processor.
        architecture: Declaration of the model class.
        adapter: What is merged into the weights.
    """

    weights: Path
    config: Path
    processor: Path
    architecture: Architecture
    adapter: Adapter | None = None

    def digest(self) -> str:
        """SHA-256 of everything that decides the weights and the config."""
        adapted = [] if self.adapter is None else self.adapter.files
        return digest_files([*weight_files(self.weights), self.weights / "config.json", *adapted])


def find_folders(checkpoint: Checkpoint, checkpoints: Path | None = None) -> ModelFolders:
    """The folders of a checkpoint, fetched from the hub where they are not here.

    Args:
        checkpoint: What a reference stands for.
        checkpoints: File to look the base of an adapter up in.

    Raises:
        CheckpointError: If a folder or a file in it is missing or cannot be read.
        UnsupportedModelError: If the family, the head or the kind of adapter is not supported.
    """
    folder = _local(checkpoint)
    adapter = read_adapter(folder)
    if adapter is None:
        architecture = choose_architecture(folder, read_config(folder))
        weight_files(folder)
        return ModelFolders(folder, folder, folder, architecture)
    base = _base(adapter, checkpoints)
    config, content = base, read_config(base)
    if (folder / "config.json").is_file():
        config, content = folder, read_config(folder)
    classes = adapter.classes(str(content.get("model_type")))
    architecture = choose_architecture(config, content, classes)
    weight_files(base)
    processor = folder if has_processor(folder, architecture) else base
    return ModelFolders(base, config, processor, architecture, adapter)


def _base(adapter: Adapter, checkpoints: Path | None) -> Path:
    """Folder of an adapter's base: from the adapter's folder, else as any other reference."""
    try:
        beside = adapter.folder / adapter.base
        folder = beside if beside.is_dir() else _elsewhere(adapter, checkpoints)
    except CheckpointError as error:
        raise CheckpointError(
            f"The base model of the adapter in {adapter.folder} is not found "
            f"(base_model_name_or_path in {CONFIG}): {error}"
        ) from error
    if (folder / CONFIG).is_file() and not has_weights(folder):
        raise CheckpointError(
            f"The base model of the adapter in {adapter.folder} is an adapter itself ({folder}). "
            "Merge that one first, and save the whole model."
        )
    return folder


def _elsewhere(adapter: Adapter, checkpoints: Path | None) -> Path:
    found = resolve_checkpoint(adapter.base, checkpoints)
    if found.hub is not None and found.revision is None:
        found = replace(found, revision=adapter.revision)
    return _local(found)


def _local(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder is not None:
        return checkpoint.folder
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
