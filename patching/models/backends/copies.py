"""A copy of a model for a library that changes the modules it is given.

nnsight puts a forward of its own on every module, and TransformerLens replaces modules in the
tree. Each gets its own modules and weights, so `model.hf` stays as it was. Weights of `model.hf`
that are changed later do not reach a copy.
"""

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from behavior.errors import DataError
from patching.models.backends.protocol import OFFERED, OpenModel
from patching.models.binding import bind
from patching.models.nodes import Site
from patching.models.rows import BoundModules, LayerModules


@dataclass(frozen=True, slots=True)
class ModelCopy:
    """A model of its own.

    Attributes:
        hf: The copied transformers module.
        modules: Its declared modules.
        call: From a batch to the logits of the classes, as the model does it.
    """

    hf: PreTrainedModel
    modules: BoundModules
    call: Callable[[Mapping[str, Tensor]], Tensor]

    def row(self, site: Site) -> LayerModules:
        """The row of a site.

        Raises:
            DataError: If the model has no such site, or only the backend `hooks` offers it.
        """
        if site.activation not in OFFERED:
            raise DataError(
                f"{site} can be read and set with the backend 'hooks' only; the others offer "
                f"{', '.join(OFFERED)}. Open the model with backend='hooks'."
            )
        row = self.modules.row(site)
        if row is None or site.head is not None:
            names = ", ".join(row.name for row in self.modules.layers)
            raise DataError(f"This model has no whole site {site}. It has the rows {names}.")
        return row


def copy_model(model: OpenModel) -> ModelCopy:
    """Copy the modules and weights of a model.

    Raises:
        DataError: If there are hooks on it, which would be copied as well.
    """
    refuse_hooks(model)
    hf = deepcopy(model.hf)
    caller = copy(model._caller)
    caller._hf = hf
    return ModelCopy(hf, bind(model.architecture, hf), caller.logits)


def refuse_hooks(model: OpenModel) -> None:
    """A copy does not see what hooks do to the model.

    Raises:
        DataError: If there are any.
    """
    if any(part._forward_hooks or part._forward_pre_hooks for part in model.hf.modules()):
        raise DataError(
            f"There are hooks on {model.name!r}, which reach the backend 'hooks' only. Leave "
            "`with model.patch(...)` first, or open the model with backend='hooks'."
        )
