"""LoRA adapters: a folder with what was trained, merged into the base model that it names.

The adapter's own config.json, tokenizer or image processor come before those of the base. Where
it holds a classifier that has more or fewer classes than the base's config.json, and no
config.json of its own, the classes are numbered.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from behavior.errors import CheckpointError, UnsupportedModelError
from patching.models.architecture import Architecture, supported_classes
from patching.models.configs import read_json
from patching.models.weights import LOAD_ERRORS, cannot_load, has_weights

CONFIG = "adapter_config.json"

_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_LORA = ".lora_"
_HEADS = {"SEQ_CLS": "ForSequenceClassification", "SEQ_2_SEQ_LM": "ForConditionalGeneration"}


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter folder, before anything is loaded.

    Attributes:
        folder: Where it lies.
        base: Folder, name or hub id of the model that it belongs to.
        revision: Of the base on the hub; None for the default branch.
        task: peft's name for its kind of head; None if it has none.
        base_class: Name of the class that it was trained on; None if the adapter does not tell.
        shapes: Name -> shape of the weights that it holds whole, such as its classifier.
    """

    folder: Path
    base: str
    revision: str | None
    task: str | None
    base_class: str | None
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def files(self) -> list[Path]:
        """What the merged model depends on, besides the base."""
        own = [self.folder / name for name in (_WEIGHTS, CONFIG, "config.json")]
        return [file for file in own if file.is_file()]

    def classes(self, model_type: str) -> list[str]:
        """Model classes that its head belongs to, the likeliest first."""
        ending = _HEADS.get(self.task or "")
        by_task = [
            name for name in supported_classes(model_type) if ending and name.endswith(ending)
        ]
        return by_task + ([] if self.base_class is None else [self.base_class])


def read_adapter(folder: Path) -> Adapter | None:
    """The adapter in a folder; None if it is a folder of another kind.

    Raises:
        CheckpointError: If a file of the adapter is missing or cannot be read.
        UnsupportedModelError: If it is an adapter of another kind than LoRA.
    """
    if not (folder / CONFIG).is_file():
        return None
    if has_weights(folder):
        raise CheckpointError(
            f"{folder} holds a whole model and an adapter ({CONFIG}), so it is not clear which is "
            "meant. Move the adapter into a folder of its own."
        )
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise UnsupportedModelError(
            f"{folder} holds an adapter of the type {config.get('peft_type')}; only LORA can be "
            "merged into its base. Merge it yourself and save the whole model."
        )
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise CheckpointError(
            f"{folder / CONFIG} does not name its base model. Set base_model_name_or_path to a "
            "folder or a hub id."
        )
    mapping = config.get("auto_mapping")
    return Adapter(
        folder=folder,
        base=base,
        revision=config.get("revision"),
        task=config.get("task_type"),
        base_class=mapping.get("base_model_class") if isinstance(mapping, dict) else None,
        shapes=_read_shapes(folder),
    )


def fit_config(
    adapter: Adapter, architecture: Architecture, config_folder: Path
) -> PreTrainedConfig:
    """The config of the merged model, with as many classes as the adapter's classifier has.

    Raises:
        CheckpointError: If config.json makes no model.
    """
    model_class: Any = getattr(transformers, architecture.model_class)
    try:
        config = model_class.config_class.from_pretrained(config_folder, local_files_only=True)
        if config_folder != adapter.folder:
            # On the meta device a model has shapes and no weights.
            with torch.device("meta"):
                skeleton: PreTrainedModel = model_class(config)
            for name, weight in skeleton.named_parameters():
                stored = adapter.shapes.get(name, weight.shape)
                if stored != weight.shape and weight.shape[0] == config.num_labels:
                    config.num_labels = stored[0]
                    break
    except LOAD_ERRORS as error:
        raise cannot_load(config_folder, error) from error
    return config


def merge_adapter(adapter: Adapter, hf: PreTrainedModel) -> PreTrainedModel:
    """The base with the adapter's changes in its weights.

    Raises:
        CheckpointError: If peft is not installed, or the adapter does not fit the base.
    """
    peft = _import_peft(adapter.folder)
    try:
        with warnings.catch_warnings():
            # What peft warns of, weights that are missing, is refused below.
            warnings.simplefilter("ignore")
            wrapped = peft.PeftModel.from_pretrained(hf, adapter.folder)
            expected = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    except LOAD_ERRORS as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"The adapter in {adapter.folder} does not fit its base {adapter.base!r}: "
            f"{reason[:300]}"
        ) from error
    _check_keys(adapter, expected)
    return wrapped.merge_and_unload()


def _import_peft(folder: Path) -> Any:
    try:
        return import_module("peft")
    except ImportError as error:
        raise CheckpointError(
            f"{folder} is a LoRA adapter, which needs peft to be merged. Install it with: pip "
            "install 'debias-circuits[lora]'."
        ) from error


def _check_keys(adapter: Adapter, expected: set[str]) -> None:
    stored = set(_stored_shapes(adapter.folder))
    if missing := sorted(expected - stored):
        raise CheckpointError(
            f"The adapter in {adapter.folder} lacks {missing[0]!r} ({len(missing)} missing in "
            f"all), which {CONFIG} and the base {adapter.base!r} ask for. They do not belong "
            "together."
        )
    if unused := sorted(name for name in stored - expected if _LORA in name):
        raise CheckpointError(
            f"The adapter in {adapter.folder} holds {unused[0]!r}, for which its base "
            f"{adapter.base!r} has no place ({len(unused)} such in all). They do not belong "
            "together."
        )


def _read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights that are stored whole, under their names in the base."""
    return {
        name.removeprefix(_PREFIX): shape
        for name, shape in _stored_shapes(folder).items()
        if _LORA not in name
    }


def _stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    path = folder / _WEIGHTS
    if not path.is_file():
        raise CheckpointError(
            f"{folder} holds an adapter without {_WEIGHTS}; pickled weights are never opened. "
            "Save the adapter again with save_pretrained."
        )
    try:
        with safe_open(path, framework="pt") as weights:
            names: list[str] = weights.offset_keys()
            return {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Copy it again.") from error
