"""What patching asks of a library (logits, values read, values set), and a library of a model."""

from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from patching.models.architecture import Architecture
from patching.models.calling import Caller
from patching.models.hooks import SiteHooks
from patching.models.nodes import Activation, Site
from patching.models.processors import Processor

OFFERED: tuple[Activation, ...] = (
    "resid_pre",
    "resid_post",
    "q",
    "k",
    "v",
    "z",
    "attn_out",
    "mlp_out",
)
"""What every backend reads and sets; `pattern`, `result` and `resid_mid` are for `hooks` alone."""


@runtime_checkable
class Backend(Protocol):
    """One way to run a model.

    A batch is what `model.encoder.batch` makes. Sites are whole (without a head), and values have
    the shapes of `patching.models.nodes`. Nothing keeps gradients.
    """

    @property
    def name(self) -> str:
        """As in `BACKENDS`."""
        ...

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch."""
        ...

    def read(
        self, batch: Mapping[str, Tensor], sites: Iterable[Site]
    ) -> tuple[Float[Tensor, "batch n_classes"], dict[Site, Tensor]]:
        """Logits of one batch, and the values at some sites."""
        ...

    def patched(
        self, batch: Mapping[str, Tensor], values: Mapping[Site, Tensor]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch with some sites set to values."""
        ...


@runtime_checkable
class OpenModel(Protocol):
    """Of a `PatchableModel`, which opens its own backend, what a backend needs."""

    name: str
    hf: PreTrainedModel
    processor: Processor
    architecture: Architecture
    hooks: SiteHooks
    _caller: Caller

    def forward(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch, without gradients."""
        ...
