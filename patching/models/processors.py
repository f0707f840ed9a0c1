"""Loads what turns inputs into numbers: a tokenizer, or an image processor."""

from pathlib import Path
from typing import Any, cast

from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from behavior.errors import CheckpointError
from patching.models.architecture import Architecture
from patching.models.image_encoding import processed_size, show_size

Processor = PreTrainedTokenizerBase | BaseImageProcessor

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
_IMAGES = "preprocessor_config.json"
# DataError, if it loads and then cannot work on a blank image, is a ValueError.
_PROCESSOR_ERRORS = (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError)


def has_processor(folder: Path, architecture: Architecture) -> bool:
    """Whether a folder holds the processor that a model of this family needs."""
    names = (_IMAGES,) if architecture.modality == "image" else _TOKENIZERS
    return any((folder / name).is_file() for name in names)


def load_processor(folder: Path, architecture: Architecture, config: PreTrainedConfig) -> Processor:
    """The tokenizer of a text model, or the image processor of an image model.

    Raises:
        CheckpointError: If it is missing, cannot be loaded, or does not fit the model.
    """
    if architecture.modality == "image":
        return _load_image_processor(folder, image_size(config))
    tokenizer = _load_tokenizer(folder, cast(Any, config).vocab_size)
    if architecture.needs_padding_id:
        _check_padding(folder, architecture, tokenizer, config)
    if architecture.label_words or cast(Any, config).is_encoder_decoder:
        _check_decoder(folder, architecture, tokenizer, config)
    return tokenizer


def image_size(config: PreTrainedConfig) -> tuple[int, int] | None:
    """Height and width that a model takes, in pixels; None if it takes any."""
    size: Any = getattr(config, "image_size", None)
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (size[0], size[1])


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
    except (ImportError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {reason}") from error
    if len(tokenizer) > vocabulary:
        raise CheckpointError(
            f"The tokenizer in {folder} knows {len(tokenizer)} tokens, the model {vocabulary}. "
            "They do not belong together."
        )
    return tokenizer


def _check_padding(
    folder: Path, architecture: Architecture, tokenizer: PreTrainedTokenizerBase, config: Any
) -> None:
    """A classifier that looks for the last token that is no padding must know the padding."""
    if tokenizer.pad_token_id is None:
        return  # The encoder says so.
    if config.pad_token_id != tokenizer.pad_token_id:
        named = "no pad_token_id" if config.pad_token_id is None else "another pad_token_id"
        raise CheckpointError(
            f"{folder / 'config.json'} has {named}, by which {architecture.model_class} finds the "
            f"end of a text in a batch. Set pad_token_id to {tokenizer.pad_token_id}, the "
            f"tokenizer's {tokenizer.pad_token!r}."
        )


def _check_decoder(
    folder: Path, architecture: Architecture, tokenizer: PreTrainedTokenizerBase, config: Any
) -> None:
    """What T5's decoder starts from, and what its classifier reads."""
    if getattr(config, "decoder_start_token_id", None) is None:
        raise CheckpointError(
            f"{folder / 'config.json'} has no decoder_start_token_id, from which the decoder "
            "starts. Set it; T5 uses its pad_token_id."
        )
    if architecture.label_words:
        return
    ids: list[int] = tokenizer("a")["input_ids"]
    if ids.count(config.eos_token_id) != 1:
        raise CheckpointError(
            f"The tokenizer in {folder} does not end a text with the token {config.eos_token_id} "
            f"(eos_token_id in config.json), at which {architecture.model_class} reads its "
            "answer. Give the tokenizer that the model was trained with."
        )


def _load_image_processor(folder: Path, expected: tuple[int, int] | None) -> BaseImageProcessor:
    if not (folder / _IMAGES).is_file():
        raise CheckpointError(
            f"{folder} holds no {_IMAGES}, so it is not known how images become pixel values. "
            "Write it with the save_pretrained(folder) of the processor used in training, such as "
            "ViTImageProcessor."
        )
    try:
        # Asked for by name, the backend that needs no torchvision loads without a warning.
        processor: BaseImageProcessor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        made = processed_size(processor)
    except _PROCESSOR_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"The image processor in {folder} cannot be loaded: {reason}"
        ) from error
    if made is not None and expected is not None and made != expected:
        raise CheckpointError(
            f"The image processor in {folder} makes images of {show_size(made)}, the model takes "
            f"{show_size(expected)}. Set size in {_IMAGES}."
        )
    return processor
