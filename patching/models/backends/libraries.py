"""Imports nnsight and TransformerLens when they are asked for, and cleans up after the imports.

What an import changes in the process, as measured with the versions in `constraints.txt`:

| library | change | put back after a backend's import |
|---|---|---|
| nnsight 0.8 | `.save` on `object`, and so on everything | yes |
| nnsight 0.8 | `torch.Tensor.backward`, which looks for a `with` block at each call | yes |
| nnsight 0.8 | glibc's `backtrace()` finds nothing (x86-64), against crashes in traces | no |
| transformer-lens 4.3 | huggingface_hub takes an int for a float in a config | yes |
| transformer-lens 4.3 | a filter for warnings about generation | yes |
| transformer-lens 4.3 | imports datasets, and pytest where it is installed | no |

`model.nnsight` and `model.bridge` hand the library over to the user, so there all of it but the
filter is in place, as after an import of one's own. A library that was imported before is left as
it is. After a backend's import a later `import nnsight` finds `.save` missing: ask for
`model.nnsight` first, or write `nnsight.save(value)`.
"""

import sys
import warnings
from importlib import import_module
from typing import Any

import torch

from behavior.errors import CheckpointError


def nnsight_library(*, hand_over: bool = False) -> Any:
    """The module `nnsight`.

    Args:
        hand_over: Whether the user will write traces with it, so that what it changes in the
            process is wanted.

    Raises:
        CheckpointError: If it is not installed.
    """
    is_new = "nnsight" not in sys.modules
    backward = torch.Tensor.backward
    library = _import("nnsight", "nnsight")
    mounting = import_module("nnsight._c")
    if hand_over:
        import_module("nnsight.intervention.backward").install()
        if library.CONFIG.APP.PYMOUNT and mounting.mount and not hasattr(object, "save"):
            mounting.mount(library.save, "save")
    elif is_new:
        torch.Tensor.backward = backward
        if hasattr(object, "save"):
            mounting.unmount("save")
    return library


def lens_library(*, hand_over: bool = False) -> Any:
    """The module `transformer_lens`; arguments as in `nnsight_library`.

    Raises:
        CheckpointError: If it is not installed.
    """
    is_new = "transformer_lens" not in sys.modules
    validation: Any = import_module("huggingface_hub.dataclasses")
    validate = validation._validate_simple_type
    library = _import("transformer_lens", "transformer-lens")
    _import("transformer_lens.model_bridge.sources", "transformer-lens")
    if hand_over:
        import_module("transformer_lens.utilities.hf_utils").enable_hf_numeric_tower()
    elif is_new:
        validation._validate_simple_type = validate
    return library


def _import(module: str, backend: str) -> Any:
    """The module; filters for warnings are afterwards as they were."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(module)
    except ImportError as error:
        raise CheckpointError(
            f"The backend {backend!r} needs {error.name or module}, which is not installed. "
            "Install it with: pip install 'debias-circuits[backends]'."
        ) from error
