"""Both runs of some pairs, as discovery records them."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from circuits.gradients import ReaderGradients
from patching.models.cache import ActivationCache


@dataclass(frozen=True, slots=True)
class Side:
    """One run of some pairs.

    Attributes:
        batch: Keyword arguments of the model.
        margins: [pair] in logits.
        cache: Values at `flow_sites`.
        gradients: At what every reader reads; None unless asked for.
    """

    batch: Mapping[str, Tensor]
    margins: Float[Tensor, " batch"]
    cache: ActivationCache
    gradients: ReaderGradients | None = None


@dataclass(frozen=True, slots=True)
class BothRuns:
    """Both runs of some pairs.

    Attributes:
        pairs: Positions of the pairs.
        clean: The clean run.
        corrupted: The corrupted run.
        target: The one that is patched into.
        source: The other.
    """

    pairs: list[int]
    clean: Side
    corrupted: Side
    target: Side
    source: Side
