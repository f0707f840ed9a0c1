"""The finished folder: a plain Hugging Face model, its card, and how it came to be."""

import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from distillation.card import model_card
from distillation.folders import CHECKPOINTS, RECORD, weights_digest, write_json
from distillation.options import RunOptions
from distillation.prepare import Prepared
from distillation.recipe import Recipe
from distillation.validation import SELECTED, validation_accuracy

SCHEMA_VERSION = 1
CURVES = "runs"
"""Where transformers puts the curves of TensorBoard; the Hub shows those of a model's folder."""
_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy", "pillow")


def write_finished_folder(
    folder: Path,
    recipe: Recipe,
    seed: int,
    request: Mapping[str, object],
    prepared: Prepared,
    history: Sequence[Mapping[str, float]],
    options: RunOptions | None = None,
) -> Path:
    """Write model, preprocessor, card and `training.json` into a folder.

    Args:
        folder: Made new.
        recipe: What was trained.
        seed: What it was trained with.
        request: What identifies the training, stored as it is.
        prepared: The training, with the model as it ended.
        history: The trainer's log.
        options: How the training was run.
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
        **({"added": prepared.added} if prepared.added else {}),
        "validation_accuracy": validation,
        **_summarise(history),
        **_chosen(recipe, history),
        **_provenance(),
        "run": (options or RunOptions()).to_json(),
    }
    curves = folder.parent / CHECKPOINTS / CURVES
    if curves.is_dir():
        shutil.copytree(curves, folder / CURVES)
    write_json(folder / RECORD, record)
    return folder


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


def _chosen(recipe: Recipe, history: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """What the rule of selection measured and which checkpoint it took; empty without a rule."""
    if not recipe.selection.measures:
        return {}
    measured = [
        {"step": entry["step"], "value": entry[SELECTED]} for entry in history if SELECTED in entry
    ]
    # The first of equal ones, as the trainer takes it.
    best = max(measured, key=lambda entry: entry["value"])
    return {"selected": {"rule": recipe.selection.rule, **best, "measured": measured}}


def _provenance() -> dict[str, object]:
    versions = {name: version(name) for name in _LIBRARIES}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "threads": torch.get_num_threads(),
        "git_revision": git_revision(),
    }
