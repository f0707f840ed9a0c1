"""Opens checkpoints: finds the files, refuses what cannot be trusted, loads, checks.

Weights come from safetensors only, nothing is unpickled, and no code of a checkpoint is run.
"""

from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

from behavior.errors import CheckpointError
from patching.models.adapters import fit_config, merge_adapter
from patching.models.architecture import Architecture
from patching.models.backends import BackendName
from patching.models.checkpoints import resolve_checkpoint
from patching.models.folders import ModelFolders, find_folders
from patching.models.label_words import LabelWords, resolve_label_words
from patching.models.model import PatchableModel
from patching.models.processors import load_processor
from patching.models.prompts import Prompt
from patching.models.selfcheck import check_model
from patching.models.weights import check_finite, load_weights

DType = Literal["float32", "float64"]


def load_checkpoint(
    reference: str | Path,
    *,
    checkpoints: Path | None = None,
    device: str = "cpu",
    dtype: DType = "float32",
    check: bool = True,
    backend: BackendName = "hooks",
    prompt: str | None = None,
    label_words: LabelWords | None = None,
) -> PatchableModel:
    """Open a name of `checkpoints.yaml`, a local Hugging Face folder or a hub id.

    A folder with a LoRA adapter is merged into the base model that it names; this needs peft.

    Args:
        reference: `teacher`, `path/to/folder`, `org/name` or `org/name@revision`.
        checkpoints: File to look names up in; see `resolve_checkpoint`.
        device: As torch names it.
        dtype: Precision. Half precisions are not offered: patching effects are differences of
            nearly equal logits, which they get wrong by a tenth and more.
        check: Run the self-check of `patching.models.selfcheck`.
        backend: Library that runs the model in patching calls: `hooks` (plain torch), `nnsight` or
            `transformer-lens`; see `patching.models.backends`.
        prompt: Template that makes one text of each input, such as `mnli premise: {premise}
            hypothesis: {hypothesis}`. By default that of `checkpoints.yaml`, else none.
        label_words: For models that answer with words: class name -> word, or the words in the
            order of the classes. By default those of `checkpoints.yaml`, else the class names.

    Raises:
        CheckpointError: If the checkpoint cannot be found, read or trusted, an option does not fit
            it, or a library that it needs is not installed.
        UnsupportedModelError: If its family or its head is not supported, by us or by the backend.
        SelfCheckError: If its family's declaration does not describe it.
    """
    where = _device(device)
    if dtype not in get_args(DType):
        raise CheckpointError(f"Unknown dtype {dtype!r}; expected float32 or float64.")
    checkpoint = resolve_checkpoint(reference, checkpoints)
    prompt = checkpoint.prompt if prompt is None else prompt
    label_words = checkpoint.label_words if label_words is None else label_words
    folders = find_folders(checkpoint, checkpoints)
    _check_options(folders.architecture, prompt, label_words)
    hf = _load(folders, getattr(torch, dtype))
    nn.Module.to(hf, where)
    model = PatchableModel(
        hf,
        load_processor(folders.processor, folders.architecture, hf.config),
        folders.architecture,
        checkpoint.name,
        folders.digest(),
        prompt=prompt,
        label_words=_words(folders.architecture, hf, label_words),
        backend=backend,
    )
    if check:
        check_model(model)
    return model


def _check_options(
    architecture: Architecture, prompt: str | None, label_words: LabelWords | None
) -> None:
    """Refuse options that a model of this family has no use for."""
    if prompt is not None:
        if architecture.modality == "image":
            raise CheckpointError(
                f"A {architecture.model_class} reads images, so it takes no prompt. Leave it out."
            )
        Prompt.parse(prompt)
    if label_words is not None and not architecture.label_words:
        raise CheckpointError(
            f"A {architecture.model_class} has a logit for each class, so it takes no "
            "label_words. Leave them out."
        )


def _words(
    architecture: Architecture, hf: PreTrainedModel, given: LabelWords | None
) -> dict[str, str] | None:
    if not architecture.label_words:
        return None
    names = cast("dict[int, str]", hf.config.id2label)
    return resolve_label_words(given, [names[i] for i in sorted(names)])


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        found = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise CheckpointError(f"No device {name!r} here; this machine has: {found}.") from error
    return device


def _load(folders: ModelFolders, dtype: torch.dtype) -> PreTrainedModel:
    if folders.adapter is None:
        hf = load_weights(folders.weights, folders.architecture, dtype)
        check_finite(hf, folders.weights)
        return hf
    base = load_weights(
        folders.weights,
        folders.architecture,
        dtype,
        config=fit_config(folders.adapter, folders.architecture, folders.config),
        supplied=folders.adapter.shapes,
    )
    hf = merge_adapter(folders.adapter, base)
    check_finite(hf, folders.adapter.folder)
    return hf
