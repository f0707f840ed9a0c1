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
from typing import Literal

import torch
from jaxtyping import Float
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


@torch.no_grad()
def node_distances(
    teacher: PatchableModel,
    student: PatchableModel,
    basis: StreamBasis,
    counterparts: Mapping[str, str],
    inputs: Sequence[Input],
) -> dict[str, float]:
    """How differently each node of the student answers to its counterpart's inputs.

    Args:
        teacher: The model whose inputs are used.
        student: The model that answers.
        basis: That they share.
        counterparts: Node of the teacher for nodes (heads, MLPs) of the student.
        inputs: Of both; the first `MOST_INPUTS` are used.

    Returns:
        By node of the student, the distance; 0 is the same, 1 as far as silence.
    """
    used = inputs[:MOST_INPUTS]
    rows = student.modules.layers
    matched = [teacher.modules.layers[i] for i in basis.rows]
    given = record_nodes(teacher, teacher.encoder.batch(teacher.encode(used)))
    batch = student.encoder.batch(student.encode(used))
    with student.hooks.editing(_edits(rows, matched, given)):
        answered = record_nodes(student, batch)
    mask = batch.get("attention_mask")
    found: dict[str, float] = {}
    for node, counterpart in counterparts.items():
        mine, theirs = (
            node_output(student, answered, node),
            node_output(teacher, given, counterpart),
        )
        whole = _row_output(teacher, given, counterpart)
        found[node] = _distance(mine, theirs, whole, mask)
    return found


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


def _distance(mine: Tensor, theirs: Tensor, whole: Tensor, mask: Tensor | None) -> float:
    if mask is None or mask.shape[1] != mine.shape[1]:
        kept = torch.ones(mine.shape[:2], dtype=torch.bool)
    else:
        kept = mask.bool()
    mine, theirs, whole = (x[kept].double() for x in (mine, theirs, whole))
    size = _spread(theirs)
    least = _QUIET * _spread(whole)
    moved = float((mine - theirs).square().sum(dim=-1).mean().sqrt())
    return moved / max(size, least) if max(size, least) > 0 else 0.0


def _spread(output: Float[Tensor, "token d_model"]) -> float:
    return float((output - output.mean(dim=0)).square().sum(dim=-1).mean().sqrt())
