"""Libraries that can run a model, behind one narrow protocol: logits, read, set.

`hooks` is plain torch and the default; with it alone, patching re-runs only what can change.
`nnsight` opens every family, `transformer-lens` is for people whose tools expect it and opens all
but ResNet. Both are imported when they are asked for, and run a copy of the model. A patched
forward costs 1.2 and 1.8 times a plain one where that takes 5 ms, and within a tenth the same where
it takes 0.3 s. The same patch gives the same numbers on all three, as
`benchmarks/backend_parity.py` measures.
"""

from importlib import import_module
from typing import Literal, get_args

from behavior.errors import CheckpointError
from patching.models.backends.hooks import HooksBackend
from patching.models.backends.protocol import OFFERED, Backend, OpenModel

BackendName = Literal["hooks", "nnsight", "transformer-lens"]

BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

_LAZY = {
    "nnsight": ("nnsight", "NNsightBackend"),
    "transformer-lens": ("transformer_lens", "TransformerLensBackend"),
}


def open_backend(name: str, model: OpenModel) -> Backend:
    """One of `BACKENDS` for a model.

    Raises:
        CheckpointError: If there is no such backend, or its library is not installed.
        UnsupportedModelError: If the library cannot open a model of this class; the message says
            which can.
    """
    if name == "hooks":
        return HooksBackend(model.hooks, model.forward)
    if name not in _LAZY:
        raise CheckpointError(
            f"Unknown backend {name!r}; expected {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}."
        )
    module, made = _LAZY[name]
    return getattr(import_module(f"{__name__}.{module}"), made)(model)


__all__ = ["BACKENDS", "OFFERED", "Backend", "BackendName", "open_backend"]
