"""Plain torch hooks: the model itself, nothing besides."""

from collections.abc import Callable, Iterable, Mapping

from jaxtyping import Float
from torch import Tensor

from patching.models.hooks import Edit, SiteHooks
from patching.models.nodes import Site


class HooksBackend:
    """Runs `model.hf` with hooks that are gone afterwards.

    Args:
        hooks: Of the model.
        forward: Logits of one batch, without gradients.

    Attributes:
        name: `hooks`.
    """

    name = "hooks"

    def __init__(self, hooks: SiteHooks, forward: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        self._hooks = hooks
        self._forward = forward

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch."""
        return self._forward(batch)

    def read(
        self, batch: Mapping[str, Tensor], sites: Iterable[Site]
    ) -> tuple[Float[Tensor, "batch n_classes"], dict[Site, Tensor]]:
        """Logits of one batch, and the values at some sites."""
        with self._hooks.reading(sites) as values:
            logits = self._forward(batch)
        return logits, dict(values)

    def patched(
        self, batch: Mapping[str, Tensor], values: Mapping[Site, Tensor]
    ) -> Float[Tensor, "batch n_classes"]:
        """Logits of one batch with some sites set to values."""
        with self._hooks.editing({site: _returning(value) for site, value in values.items()}):
            return self._forward(batch)


def _returning(value: Tensor) -> Edit:
    return lambda _current: value
