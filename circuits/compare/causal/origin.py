"""Cause or consequence: does a node itself answer differently, or only to different inputs?

Silencing one head changes the effect of everything up- and downstream of it, so a difference of
effects does not say where a change began. Where teacher and student share the basis of their
streams (`basis`), every node of the student is given the inputs of its counterpart in the teacher,
all at once in one forward, and its output in the stream is compared with the counterpart's:

    distance = sqrt(mean |output - counterpart's output|^2 / mean |counterpart's, centred|^2)

over tokens. A node with a distance above `OWN` has the origin `own`; the others answer as the
teacher would, and whatever changed in their effects is `inherited`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from behavior.inputs import Input
from circuits.compare.causal.basis import MOST_INPUTS, StreamBasis
from circuits.compare.causal.outputs import node_output, record_nodes
from patching.models.cache import ActivationCache
from patching.models.hooks import Edit
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.rows import LayerModules

Origin = Literal["own", "inherited"]

OWN = 0.02
_QUIET = 1e-3
"""A counterpart that writes less than this share of its row's output counts as that share."""


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far each node of the student is from its counterpart, input by input.

    Attributes:
        nodes: Of the student.
        moved: [node, input] sum over tokens of |output - counterpart's output|^2.
        spread: [node, input] the same of |counterpart's output, centred|^2.
        row: [node, input] the same of all that the counterpart's row writes, centred.
        tokens: [input] number of tokens.
    """

    nodes: tuple[str, ...]
    moved: Float[np.ndarray, "node input"]
    spread: Float[np.ndarray, "node input"]
    row: Float[np.ndarray, "node input"]
    tokens: Int[np.ndarray, " input"]

    def distances(self) -> dict[str, float]:
        """By node, the distance; 0 is the same, 1 as far as silence."""
        n = self.tokens.sum()
        moved, spread, row = (
            np.sqrt(each.sum(axis=1) / n) for each in (self.moved, self.spread, self.row)
        )
        size = np.maximum(spread, _QUIET * row)
        far = np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)
        return dict(zip(self.nodes, far.tolist(), strict=True))


def node_distances(
    teacher: PatchableModel,
    student: PatchableModel,
    basis: StreamBasis,
    counterparts: Mapping[str, str],
    inputs: Sequence[Input],
) -> dict[str, float]:
    """How differently each node of the student answers to its counterpart's inputs.

    The arguments are those of `node_deviations`.
    """
    return node_deviations(teacher, student, basis, counterparts, inputs).distances()


@torch.no_grad()
def node_deviations(
    teacher: PatchableModel,
    student: PatchableModel,
    basis: StreamBasis,
    counterparts: Mapping[str, str],
    inputs: Sequence[Input],
) -> Deviations:
    """What `node_distances` rests on.

    Args:
        teacher: The model whose inputs are used.
        student: The model that answers.
        basis: That they share.
        counterparts: Node of the teacher for nodes (heads, MLPs) of the student.
        inputs: Of both; the first `MOST_INPUTS` are used.
    """
    used = inputs[:MOST_INPUTS]
    rows = student.modules.layers
    matched = [teacher.modules.layers[i] for i in basis.rows]
    given = record_nodes(teacher, teacher.encoder.batch(teacher.encode(used)))
    batch = student.encoder.batch(student.encode(used))
    with student.hooks.editing(_edits(rows, matched, given)):
        answered = record_nodes(student, batch)
    mask = batch.get("attention_mask")
    moved, spread, row = (np.zeros((len(counterparts), len(used))) for _ in range(3))
    kept = torch.ones(len(used), 1, dtype=torch.bool)
    for i, (node, counterpart) in enumerate(counterparts.items()):
        mine, theirs = (
            node_output(student, answered, node),
            node_output(teacher, given, counterpart),
        )
        kept = _kept(mine, mask)
        moved[i] = _by_input(mine.double() - theirs.double(), kept)
        spread[i] = _by_input(_centred(theirs, kept), kept)
        row[i] = _by_input(_centred(_row_output(teacher, given, counterpart), kept), kept)
    return Deviations(tuple(counterparts), moved, spread, row, kept.sum(dim=1).cpu().numpy())


def origin_of(distance: float) -> Origin:
    """Own, if the node itself answers differently."""
    return "own" if distance > OWN else "inherited"


def same_place(
    student: PatchableModel, teacher: PatchableModel, basis: StreamBasis
) -> dict[str, str]:
    """The node of the teacher at the same place as each head and MLP of the student."""
    found: dict[str, str] = {}
    for row, i in zip(student.modules.layers, basis.rows, strict=True):
        other = teacher.modules.layers[i]
        pairs = zip(row.heads, other.heads, strict=False)
        found |= {str(mine): str(theirs) for mine, theirs in pairs}
        if row.mlp_node is not None and other.mlp_node is not None:
            found[str(row.mlp_node)] = str(other.mlp_node)
    return found


def _edits(
    rows: Sequence[LayerModules], matched: Sequence[LayerModules], given: ActivationCache
) -> dict[Site, Edit]:
    """What every node reads becomes what its counterpart read."""
    edits: dict[Site, Edit] = {}
    for row, other in zip(rows, matched, strict=True):
        for name in ("resid_pre", "resid_mid", "resid_post"):
            if row.has(name) and other.has(name):
                edits[row.site(name)] = _always(given[other.site(name)])
    return edits


def _always(value: Tensor) -> Edit:
    return lambda _: value


def _row_output(model: PatchableModel, cache: ActivationCache, node: str) -> Tensor:
    site = model.site(node)
    return cache[site] if site.head is None else cache[model.row(site).site("attn_out")]


def _kept(output: Tensor, mask: Tensor | None) -> Tensor:
    """[input, pos] which positions are tokens; all where the mask is that of another stack."""
    if mask is None or mask.shape[1] != output.shape[1]:
        return torch.ones(output.shape[:2], dtype=torch.bool, device=output.device)
    return mask.bool()


def _centred(output: Tensor, kept: Tensor) -> Tensor:
    return output.double() - output[kept].double().mean(dim=0)


def _by_input(values: Tensor, kept: Tensor) -> Float[np.ndarray, " input"]:
    return (values.square().sum(dim=-1) * kept).sum(dim=1).cpu().numpy()
