"""Just train twice (https://arxiv.org/abs/2107.09044).

1. An identification model is trained plainly and shortly; a recipe names it as
   `bias_model: {name: model, recipe: ...}`.
2. The training items that it gets wrong are its error set.
3. The model is trained from scratch, items of the error set being drawn `upweight` times as often.

No groups are needed in training; choosing how long step 1 lasts takes some.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from behavior.errors import RecipeError
from distillation.checks import require
from distillation.objectives.objective import LogitObjective, Materials, Need, Signals


@dataclass(frozen=True)
class JTT(LogitObjective):
    """Cross-entropy on items of which those in the error set are drawn more often.

    Attributes:
        upweight: lambda of the paper: 4 for MNLI, 6 for CivilComments, 50 for CelebA, 100 for
            Waterbirds.
    """

    upweight: float = 4.0
    needs: ClassVar[frozenset[Need]] = frozenset({"bias_model"})

    def __post_init__(self) -> None:
        require(self.upweight >= 1, "upweight", "at least 1", self.upweight)

    def sampling_weights(self, materials: Materials) -> Float[Tensor, " item"]:
        """`upweight` for items of the error set, 1 for the others.

        Raises:
            RecipeError: If the identification model makes no error, so that nothing is upweighted.
        """
        signals = materials.signals
        assert signals.bias is not None, "declared in needs"
        wrong = signals.bias.argmax(-1) != signals.labels
        if not wrong.any():
            raise RecipeError(
                f"The bias model is right on all {len(wrong)} training items, so there is no error "
                "set. Train it for fewer steps."
            )
        return torch.where(wrong, self.upweight, 1.0)

    def loss(self, logits: Float[Tensor, "batch n_classes"], signals: Signals) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(logits, signals.labels)
