"""Reads config.json, and refuses what cannot be opened before any weights are read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from behavior.errors import CheckpointError, UnsupportedModelError
from patching.models.architecture import Architecture
from patching.models.families import find_architecture

_OWN_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
        CheckpointError: If it is missing or cannot be read.
        UnsupportedModelError: If the folder asks to run code, or its weights are not those that
            its class declares.
    """
    config = read_json(folder / "config.json")
    _refuse_own_code(folder)
    _refuse_changed(folder, config)
    return config


def choose_architecture(
    folder: Path, config: Mapping[str, Any], preferred: Sequence[str] = ()
) -> Architecture:
    """The declaration of the model that a config describes.

    Args:
        folder: Where the config lies, for messages.
        config: Content of config.json.
        preferred: Model classes that come before those that the config names.

    Raises:
        CheckpointError: If the config does not name classes as it should.
        UnsupportedModelError: If its family or its head is not supported.
    """
    classes: object = config.get("architectures") or []
    if not isinstance(classes, list):
        raise CheckpointError(
            f"{folder / 'config.json'} has {classes!r} as architectures; expected a list with the "
            "name of the model's class."
        )
    named = [*preferred, *(str(name) for name in cast("list[object]", classes))]
    architecture = find_architecture(str(config.get("model_type")), named)
    _refuse_decoders(folder, config, architecture)
    return architecture


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: If it is missing, not JSON, or not an object.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} holds no {path.name}. Expected a Hugging Face folder, as "
            "save_pretrained writes it: config.json, model.safetensors, and the tokenizer or the "
            "image processor."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return cast("dict[str, Any]", content)


def _refuse_own_code(folder: Path) -> None:
    for name in _OWN_CODE:
        path = folder / name
        if path.is_file() and "auto_map" in read_json(path):
            raise UnsupportedModelError(
                f"{folder} asks to run code of its own (auto_map in {name}), which is never done. "
                "Use a model class that transformers has."
            )


def _refuse_decoders(folder: Path, config: Mapping[str, Any], architecture: Architecture) -> None:
    """Encoders set up as decoders, and decoders that wait for an encoder."""
    # A model that caches keys and values is a decoder by declaration, whatever its config says.
    keys = ["add_cross_attention"] if architecture.caches else ["is_decoder", "add_cross_attention"]
    for key in keys:
        if config.get(key):
            kind = "a decoder of an encoder" if architecture.caches else "a decoder"
            raise UnsupportedModelError(
                f"{folder} is set up as {kind} ({key} in config.json); expected a "
                f"{architecture.model_class} without."
            )


def _refuse_changed(folder: Path, config: Mapping[str, Any]) -> None:
    """Models whose weights are no longer what their class declares."""
    if quantised := config.get("quantization_config"):
        how = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise UnsupportedModelError(
            f"{folder} is quantised ({how or 'quantization_config in config.json'}); expected "
            "weights in floating point. Give the model it was made from, or write it again after "
            "model.dequantize()."
        )
    if pruned := config.get("pruned_heads"):
        raise UnsupportedModelError(
            f"{folder} has pruned heads (pruned_heads in config.json: {pruned}); expected all "
            "heads in every layer. Give the model from before pruning, with the weights of these "
            "heads set to zero instead."
        )
    channels = config.get("num_channels", 3)
    if channels != 3:
        raise UnsupportedModelError(
            f"{folder} takes images of {channels} channels (num_channels in config.json), but "
            "images are given as RGB; expected 3."
        )
