"""Copies of a plant with an edge less, or one more."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from behavior.errors import DataError
from behavior.inputs import Input
from circuits.graph import reader_node
from circuits.plants.blocks import random_normal
from circuits.plants.copies import copy_model
from circuits.plants.plant import Plant
from circuits.plants.weights import bias_of, head_reader, matrix_of
from circuits.plants.wiring import INPUT
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

_SHORTCUT = INPUT[1]


@torch.no_grad()
def cut_edge(plant: Plant, edge: str, inputs: Sequence[Input]) -> PatchableModel:
    """A reader of a plant sees the mean of what a writer says on some inputs; all else stays.

    Raises:
        DataError: If the plant has no such edge, or it leads to the classifier.
    """
    changed = _Reader(plant, edge, inputs)
    writer = edge.partition("->")[0]
    blocks = INPUT if writer == "input" else (plant.wiring.blocks[writer],)
    bases = [changed.basis(block) for block in blocks]
    projector = sum((basis @ basis.T for basis in bases), torch.zeros(()))
    changed.bias += changed.weight @ projector @ changed.seen.mean(dim=0)
    changed.weight -= changed.weight @ projector
    return changed.model


@torch.no_grad()
def add_edge(
    plant: Plant, edge: str, inputs: Sequence[Input], strength: float = 1.0, seed: int = 0
) -> PatchableModel:
    """A reader of a plant sees one writer more; of the input it sees the shortcut's words.

    The reader answers to that writer's deviations from its mean on some inputs. No other reader
    changes: of all edges along which nothing was read, this one alone is read afterwards.

    Args:
        plant: The plant.
        edge: Such as `input->a1.h2<v>`, for a node that then reads the shortcut, too.
        inputs: On which the writer's mean and size are taken.
        strength: Root mean square of what is added to the reader, which sees its own writers with
            a variance of 1 in all.
        seed: Of the matrix through which the reader sees the writer.

    Raises:
        DataError: If the plant has no such edge, it is read already or leads to the classifier, or
            its writer says the same on all inputs.
    """
    changed = _Reader(plant, edge, inputs)
    if edge not in plant.unread():
        raise DataError(f"{edge!r} is read already. Take one of the edges in plant.unread().")
    writer = edge.partition("->")[0]
    basis = changed.basis(_SHORTCUT if writer == "input" else plant.wiring.blocks[writer])
    mean = changed.seen.mean(dim=0)
    size = float(((changed.seen - mean) @ basis).square().mean().sqrt())
    if size == 0:
        raise DataError(f"{writer!r} says the same on all {len(inputs)} inputs. Take another edge.")
    random = random_normal(seed, f"added {edge}", (len(changed.weight), basis.shape[1]))
    added = strength / (sqrt(basis.shape[1]) * size) * random.to(basis) @ basis.T
    changed.weight += added
    changed.bias -= added @ mean
    return changed.model


class _Reader:
    """The reader of an edge in a copy of the plant's model.

    Attributes:
        model: The copy.
        weight: View of what the reader multiplies by, [out, d_model].
        bias: View of what it adds.
        seen: [token, d_model] what it reads on the inputs.
    """

    def __init__(self, plant: Plant, edge: str, inputs: Sequence[Input]) -> None:
        plant.graph.kept({edge})
        reader = edge.partition("->")[2]
        if reader == "logits":
            raise DataError(
                f"{edge!r} cannot be changed: the classifier is left as it is. Take another."
            )
        index = plant.graph.readers.index(reader)
        point = next(point for point in plant.graph.points if index in point.readers)
        self.model = copy_model(plant.model)
        self._blocks = plant.blocks
        row = self.model.modules.layers[cast(int, point.row)]
        self.seen = _what_is_read(self.model, row, point.kind, inputs)
        if point.kind == "mlp":
            module: Any = row.mlp_in if row.mlp_in is not None else row.mlp
            self.weight, self.bias = _first_matrix(module)
        else:
            part = reader.partition("<")[2].rstrip(">")
            head = int(reader_node(reader).partition(".h")[2])
            self.weight, self.bias = head_reader(row, part, head)

    def basis(self, block: str) -> Float[Tensor, "d_model block"]:
        """Of a block of the stream."""
        return self._blocks[block].to(self.model.device, self.model.dtype)


def _first_matrix(mlp: nn.Module) -> tuple[Tensor, Tensor]:
    """Views of W [out, in] and b of the matrix that reads the stream."""
    first = next(module for module in mlp.modules() if hasattr(module, "weight"))
    return matrix_of(first), bias_of(first)


@torch.no_grad()
def _what_is_read(
    model: PatchableModel, row: LayerModules, kind: str, inputs: Sequence[Input]
) -> Float[Tensor, "token d_model"]:
    """What a row's readers read at all positions of some inputs."""
    sites = [row.site("resid_pre"), row.site("attn_out")]
    _, cache = model.run_with_cache(inputs, sites=sites)
    stream = cache[sites[0]]
    pre_norm = model.architecture.layout == "pre-norm"
    if kind == "mlp":
        stream = stream + cache[sites[1]]
        norm = row.mlp_norm if pre_norm else row.norm
    else:
        norm = row.norm if pre_norm else nn.Identity()
    assert norm is not None, "transformers have norms"
    return norm(stream).flatten(end_dim=1)
