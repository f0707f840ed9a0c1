"""Run by test_backends.py in a process of its own: three lines of JSON.

1. Libraries that are imported after every module of `patching`, and a model patched with hooks.
2. What the other backends leave changed in the process.
3. What `nnsight_of` and `bridge_of` leave changed.
"""

import json
import logging
import os
import pkgutil
import sys
import warnings
from importlib import import_module
from typing import Any

import huggingface_hub.dataclasses as validation
import torch

import behavior
import circuits
import distillation
import patching
import probes
from behavior.inputs import TextInput
from patching.models.backends import BACKENDS, open_backend
from patching.models.backends.nnsight import nnsight_of
from patching.models.backends.transformer_lens import bridge_of

PACKAGES = (behavior, circuits, distillation, patching, probes)
LIBRARIES = {"nnsight", "transformer_lens", "datasets", "wandb"}


def state() -> dict[str, Any]:
    return {
        "save": hasattr(object, "save"),
        "backward": torch.Tensor.backward,
        "validation": validation._validate_simple_type,
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "seed": torch.initial_seed(),
        "filters": list(warnings.filters),
        "handlers": list(logging.getLogger().handlers),
        "environment": dict(os.environ),
        "excepthook": sys.excepthook,
    }


def report(found: set[str]) -> None:
    sys.stdout.write(f"{json.dumps(sorted(found))}\n")


def changed(before: dict[str, Any]) -> set[str]:
    return {name for name, value in state().items() if value != before[name]}


for part in pkgutil.walk_packages(patching.__path__, "patching."):
    import_module(part.name)
model = patching.load_checkpoint(sys.argv[1])
batch = model.encoder.batch(model.encode([TextInput("the nurse saw", "the nurse")]))
sites = model.sites(["z"])


def use(name: str) -> None:
    backend = open_backend(name, model)
    backend.patched(batch, backend.read(batch, sites)[1])


use("hooks")
report(LIBRARIES & set(sys.modules))
before = state()
for backend in BACKENDS:
    use(backend)
report(changed(before))
handed_over = nnsight_of(model), bridge_of(model)
report(changed(before))
