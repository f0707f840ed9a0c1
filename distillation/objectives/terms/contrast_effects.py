"""First-order effects of nodes on the two contrasts of quads, as functions that can be trained.

For each pair of cells of a quad, the effect of a head is the change of its z between them times the
gradient of the margin at z, summed over positions and channels: to first order, by how much the
margin moves with this head alone. That of an MLP is the same with its output. The core contrast has
the pairs (A, C) and (N, L), the shortcut contrast (A, N) and (C, L). Effects are means over quads,
divided by the model's own total range, the mean of margin(A) - margin(L). Swapping label and foil,
and so A with L and N with C, leaves them as they are.

The gradient is the mean of those at m points between the two cells, at which the embeddings are
(k - 1/2) / m of the way (EAP-IG on inputs, Hanna et al. 2024, https://arxiv.org/abs/2403.17806).
At the cells themselves a trained model is saturated: its gradients there are next to zero, and so
would be all effects.

The network is run in evaluation mode. With `differentiable` the effects carry gradients, which
needs second derivatives of attention: its plain implementation runs meanwhile.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from behavior.examples import CELLS, Quad
from behavior.readout import margin, read_labels
from distillation.data import Batch
from distillation.objectives.terms.opened import OpenClassifier

LEAST_RANGE = 1.0
"""Of the margin, in logits: a network that answers to neither cue is not divided by nothing."""

_PAIRS = ((0, 2), (1, 3), (0, 1), (2, 3))
"""Places in A, N, C, L: two pairs of the core contrast, two of the shortcut contrast."""

RowEffects = tuple[Float[Tensor, " _"], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ContrastEffects:
    """Effects of every node, as shares of the model's total range.

    Attributes:
        core: For each row of heads, [head] effect on the core contrast; then, if they were asked
            for, [1] that of each MLP.
        shortcut: The same on the shortcut contrast.
        total_range: Mean of margin(A) - margin(L), in logits, not clipped.
    """

    core: RowEffects
    shortcut: RowEffects
    total_range: Float[Tensor, ""]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedQuads:
    """Quads as one network takes them.

    Attributes:
        batch: [quad cell] what it is called with: the cells A, N, C, L of one quad after another.
        labels: [quad cell] column of the quad's label among the task's labels.
        foils: [quad cell] column of its foil.
    """

    batch: Batch
    labels: Int[Tensor, " cell"]
    foils: Int[Tensor, " cell"]


def encode_quads(
    opened: OpenClassifier, quads: Sequence[Quad[Any]], labels: Sequence[str]
) -> EncodedQuads:
    """All cells of quads, on the device of the network."""
    classifier = opened.classifier
    device = classifier.model.device
    encoded = classifier.encode([quad.cell(cell) for quad in quads for cell in CELLS])
    readout = read_labels(classifier.classes, labels)
    names = [[name for quad in quads for name in (side(quad),) * 4] for side in (_label, _foil)]
    return EncodedQuads(
        {name: column.to(device) for name, column in encoded.columns.items()},
        readout.index(names[0]).to(device),
        readout.index(names[1]).to(device),
    )


def contrast_effects(
    opened: OpenClassifier,
    quads: EncodedQuads,
    labels: Sequence[str],
    *,
    steps: int = 5,
    mlps: bool = False,
    differentiable: bool = False,
) -> ContrastEffects:
    """Effects of every head of a network on both contrasts of these quads, and of every MLP.

    Args:
        opened: The network.
        quads: As the network takes them.
        labels: Of the task, the columns that the quads name.
        steps: Number of points between two cells at which gradients are taken.
        mlps: Whether MLPs are nodes too.
        differentiable: Whether the effects can be trained on.
    """
    sites = [row.site("z") for row in opened.rows]
    sites += [row.site("mlp_out") for row in opened.mlp_rows if mlps]
    entries = [row.site("resid_pre") for row in opened.rows if row.enters]
    readout = read_labels(opened.classifier.classes, labels)
    with torch.enable_grad(), _evaluating(opened.classifier.model), sdpa_kernel(SDPBackend.MATH):
        logits, values = opened.run(quads.batch, [*sites, *entries])
        margins = margin(readout.task_logits(logits), quads.labels, quads.foils)
        between = _Between(len(margins) // 4, steps, margins.device)
        edits = {site: partial(between.embeddings, values[site]) for site in entries}
        inputs = {name: column[between.clean] for name, column in quads.batch.items()}
        with opened.hooks.editing(edits):
            logits, moved = opened.run(inputs, sites)
        ends = quads.labels[between.clean], quads.foils[between.clean]
        towards = margin(readout.task_logits(logits), *ends)
        points = [moved[site] for site in sites]
        slopes = torch.autograd.grad(towards.sum(), points, create_graph=differentiable)
    cells = rearrange(margins, "(quad cell) -> cell quad", cell=4).mean(1)
    total = cells[0] - cells[3]
    scale = total.clamp(min=LEAST_RANGE)
    found = [
        between.effects(values[site], slope) for site, slope in zip(sites, slopes, strict=True)
    ]
    whole = ContrastEffects(
        tuple(core / scale for core, _ in found),
        tuple(shortcut / scale for _, shortcut in found),
        total,
    )
    return whole if differentiable else _detached(whole)


class _Between:
    """The runs between the cells of each pair: [pair point quad], flattened in this order."""

    def __init__(self, n_quads: int, steps: int, device: torch.device) -> None:
        first = 4 * torch.arange(n_quads, device=device)
        rows = [(first + a, first + b) for a, b in _PAIRS]
        self.steps = steps
        self.clean = torch.cat([clean.repeat(steps) for clean, _ in rows])
        self.corrupted = torch.cat([corrupted.repeat(steps) for _, corrupted in rows])
        shares = (torch.arange(steps, device=device) + 0.5) / steps
        self.shares = shares.repeat_interleave(n_quads).repeat(len(_PAIRS))

    def embeddings(self, cells: Tensor, _current: Tensor) -> Tensor:
        """Between those of the two cells of each pair."""
        shares = self.shares.to(cells.dtype)[:, None, None]
        return shares * cells[self.clean] + (1 - shares) * cells[self.corrupted]

    def effects(
        self, values: Tensor, slopes: Tensor
    ) -> tuple[Float[Tensor, " node"], Float[Tensor, " node"]]:
        """Of a row of heads or of an MLP, on the core and on the shortcut, in logits."""
        moved = (values[self.clean] - values[self.corrupted]) * slopes
        by_node = moved if moved.ndim == 4 else moved[:, :, None]
        pairs = by_node.sum((1, 3)).unflatten(0, (len(_PAIRS), -1)).mean(1)
        return pairs[:2].mean(0), pairs[2:].mean(0)


def _detached(effects: ContrastEffects) -> ContrastEffects:
    return ContrastEffects(
        tuple(row.detach() for row in effects.core),
        tuple(row.detach() for row in effects.shortcut),
        effects.total_range.detach(),
    )


@contextmanager
def _evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Evaluation mode; afterwards each module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _label(quad: Quad[Any]) -> str:
    return quad.label


def _foil(quad: Quad[Any]) -> str:
    return quad.foil
