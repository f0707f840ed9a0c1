"""The finished folder: a plain Hugging Face model, its card, and how it came to be."""

import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from behavior.examples import Example, Task
from behavior.generated import GeneratedTask
from behavior.readout import read_labels
from distillation.card import model_card
from distillation.classifier import Classifier
from distillation.folders import RECORD, weights_digest, write_json
from distillation.prepare import Prepared
from distillation.recipe import Recipe

SCHEMA_VERSION = 1
N_VALIDATION = 2000
"""Examples: 500 quads, four cells each."""

_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy", "pillow")


def write_finished_folder(
    folder: Path,
    recipe: Recipe,
    seed: int,
    request: Mapping[str, object],
    prepared: Prepared,
    history: Sequence[Mapping[str, float]],
) -> Path:
    """Write model, preprocessor, card and `training.json` into a folder.

    Args:
        folder: Made new.
        recipe: What was trained.
        seed: What it was trained with.
        request: What identifies the training, stored as it is.
        prepared: The training, with the model as it ended.
        history: The trainer's log.
    """
    if folder.exists():
        shutil.rmtree(folder)
    materials = prepared.materials
    classifier, task, examples = materials.classifier, materials.task, materials.examples
    cells = dict(sorted(Counter(example.group for example in examples).items()))
    validation = validation_accuracy(classifier, task)
    classifier.model.save_pretrained(folder)
    classifier.preprocessor.save_pretrained(folder)
    card = model_card(recipe, seed, cells, validation)
    (folder / "README.md").write_text(card, encoding="utf-8")
    record = {
        "schema_version": SCHEMA_VERSION,
        **request,
        "description": recipe.description,
        "digest": weights_digest(folder),
        "data": {**task.describe(), "n": len(examples), "cells": cells},
        "validation_accuracy": validation,
        **_summarise(history),
        **_provenance(),
    }
    write_json(folder / RECORD, record)
    return folder


def validation_accuracy(
    classifier: Classifier, task: Task[Any]
) -> dict[str, dict[str, float | int]]:
    """Accuracy per group on validation quads, or on the validation split; empty without either."""
    examples = _validation_examples(task)
    if not examples:
        return {}
    readout = read_labels(classifier.classes, task.labels)
    inputs = classifier.encode([example.input for example in examples])
    answers = readout.task_logits(classifier.predict(inputs)).argmax(-1)
    right = (answers == readout.index([example.label for example in examples])).tolist()
    groups = dict.fromkeys(example.group for example in examples)
    return {group: _share_right(examples, right, group) for group in groups}


def git_revision() -> str | None:
    """Revision of this source tree, `-dirty` if it was changed; None outside of a checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def _summarise(history: Sequence[Mapping[str, float]]) -> dict[str, object]:
    kept = ("step", "loss", "learning_rate")
    losses = [{key: entry[key] for key in kept} for entry in history if "loss" in entry]
    return {"loss_history": losses, "seconds": round(history[-1]["seconds"], 1)}


def _provenance() -> dict[str, object]:
    versions = {name: version(name) for name in _LIBRARIES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        "git_revision": git_revision(),
    }


def _validation_examples(task: Task[Any]) -> list[Example[Any]]:
    if isinstance(task, GeneratedTask):
        quads = task.quads(N_VALIDATION // 4, split="validation")
        return [example for quad in quads for example in quad.examples()]
    return list(task.examples("validation", N_VALIDATION)) if "validation" in task.splits else []


def _share_right(
    examples: Sequence[Example[Any]], right: Sequence[bool], group: str
) -> dict[str, float | int]:
    chosen = [fine for example, fine in zip(examples, right, strict=True) if example.group == group]
    return {"value": sum(chosen) / len(chosen), "n": len(chosen)}
