"""The same model again, to be changed."""

from copy import deepcopy

from patching.models.model import PatchableModel


def copy_model(model: PatchableModel) -> PatchableModel:
    """The same model again, with weights of its own."""
    hf = deepcopy(model.hf)
    return PatchableModel(hf, model.processor, model.architecture, f"{model.name}-changed")
