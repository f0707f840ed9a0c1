"""The change of attention patterns under one writer at a time, exactly, for edges into q and k.

A saturated softmax has almost no slope, so that to first order an edge into q or k does nothing,
however much its patch moves the pattern. AtP* therefore takes the pattern as what is changed: for
an edge u -> a3.h5<q> the query of the run that is patched into is moved by W_Q times the change of
u, at all positions together (for k: the key), the pattern is formed anew with all other writers as
they are, and

    score = sum over positions of (pattern with u - pattern without) . d margin / d pattern

in place of the change of u times the gradient that went through the softmax. Where the change is
small the two agree. What follows the pattern is still linear. After Kramar et al. 2024
(https://arxiv.org/abs/2403.00745), section 3.1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from circuits.gradients import ReaderGradients
from circuits.weights import head_weights
from patching.models.attention import AttentionCall, intercepted
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules

Attention = Literal["linear", "exact_pattern"]
"""How a change passes the softmax of attention: by its slope, or by the pattern formed anew."""


class PatternChanges:
    """What each writer alone makes of the patterns of one run, times the gradient there.

    Args:
        model: The model.
        calls: Attention calls of the run that is patched into; see `recorded_calls`.
        gradients: Of that run, or a mean of several, with `patterns`.
        sign: -1 if the run is the clean one, so that a patch takes the change away; 1 otherwise.
    """

    def __init__(
        self,
        model: PatchableModel,
        calls: dict[nn.Module, AttentionCall],
        gradients: ReaderGradients,
        sign: Literal[-1, 1],
    ) -> None:
        self.calls = calls
        self.sign = sign
        # Taken out now: a mean of gradients overwrites those of its first run.
        rows = (row for row in model.modules.layers if row.has("pattern"))
        self.slopes = {row.attention: gradients.pattern(row) for row in rows}

    def scores(
        self, row: LayerModules, part: str, changes: Float[Tensor, "writer batch pos d_model"]
    ) -> Float[Tensor, "batch edge"]:
        """Scores of the edges into q, or into k, of a row's heads; one writer at a time.

        Args:
            row: Whose heads read.
            part: `q` or `k`.
            changes: Clean minus corrupted, as the readers see each writer's.
        """
        call, slopes = self.calls[row.attention], self.slopes[row.attention]
        columns: list[Tensor] = []
        with torch.no_grad():
            before = call.pattern()
            weights = self.sign * head_weights(row, part)
            for change in changes:
                moved = einsum(change, weights, "b pos model, head d model -> b head pos d")
                exchanged = (
                    replace(call, query=call.query + moved)
                    if part == "q"
                    else replace(call, key=call.key + moved)
                )
                columns.append(((exchanged.pattern() - before) * slopes).sum(dim=(-2, -1)))
        return self.sign * torch.stack(columns, dim=-1).flatten(start_dim=1)


def recorded_calls(
    model: PatchableModel, batch: dict[str, Tensor]
) -> dict[nn.Module, AttentionCall]:
    """The attention calls of one run, by module, as `AttentionCall.pattern` needs them."""
    calls: dict[nn.Module, AttentionCall] = {}

    def keep(call: AttentionCall) -> Tensor:
        calls[call.module] = call
        return call.run()

    handlers = {row.attention: keep for row in model.modules.layers if row.has("pattern")}
    if handlers:
        with intercepted(model.hf, handlers, "eager"):
            model.forward(batch)
    return calls


def mean_scores(
    changes: Sequence[PatternChanges],
    row: LayerModules,
    part: str,
    carried: Float[Tensor, "writer batch pos d_model"],
) -> Float[Tensor, "batch edge"]:
    """Mean of the scores in several runs."""
    return torch.stack([one.scores(row, part, carried) for one in changes]).mean(dim=0)
