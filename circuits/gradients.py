"""Gradients of the margin at what every reader reads.

One forward and one backward give them all. q, k and v of a head read the same stream; the gradient
at what q reads is that at q, carried back through W_Q. An MLP's gradient is the one that arrives
through the MLP alone, not through the stream beside it. Norms are live: the gradient is taken after
the norm that the readers of a point share (pre-norm), or at the stream (post-norm). The gradient at
an attention pattern is that at z times the values that the pattern weighs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from circuits.graph import PARTS, Graph, Point
from circuits.weights import head_weights, hidden_channels, pulled_back
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.models.rows import LayerModules

Margins = Callable[[Tensor], Tensor]
"""From logits to the margin of each pair."""


class ReaderGradients:
    """Gradients of the margins of one batch, at one set of embeddings.

    Args:
        model: The model.
        graph: Of it.
        batch: Keyword arguments of the model.
        values: What enters each stream, by the site of its entry; None as the model makes it. `z`
            or `mlp_out` of a row may be given besides: nothing flows back through such a row.
        margins: Of each pair.
        recorded: Sites whose values are kept.
        patterns: Whether gradients at attention patterns are kept too.

    Attributes:
        margins: [pair] the margins, in logits.
        cache: The recorded values, with frames.
    """

    def __init__(
        self,
        model: PatchableModel,
        graph: Graph,
        batch: Mapping[str, Tensor],
        values: Mapping[Site, Tensor | None],
        margins: Margins,
        recorded: Sequence[Site] = (),
        patterns: bool = False,
    ) -> None:
        self.model = model
        self.graph = graph
        run = _run(model, batch, values, margins, recorded, patterns)
        self.margins, self.cache, self._slopes = run.margins, run.cache, run.slopes
        if any(row.is_image for row in model.modules.layers):
            self._slopes |= _pulled_back_groups(model, run)

    def at(self, point: Point) -> Float[Tensor, "reader batch pos d_model"]:
        """At what the readers of a point read."""
        return torch.cat(list(self.parts(point)))

    def parts(self, point: Point) -> Iterator[Float[Tensor, "reader batch pos d_model"]]:
        """The same for some readers at a time, in order."""
        return (self.part(point, name) for name in self.names(point))

    def names(self, point: Point) -> tuple[str, ...]:
        """What `part` is asked for: q, k, v, or "" where readers are no parts of attention."""
        if point.kind == "cross":
            return ("k", "v")
        if point.kind != "heads" or point.row is None:
            return ("",)
        row = self.model.modules.layers[point.row]
        if row.is_image:
            return ("",)
        return ("q",) if row.stack.endswith(".x") else PARTS

    def part(self, point: Point, name: str) -> Float[Tensor, "reader batch pos d_model"]:
        """At what the readers of one name read."""
        rows = self.model.modules.layers
        if point.row is None:
            return self._slopes[rows[-1].site("resid_post")][None]
        row = rows[point.row]
        if point.kind == "mlp":
            return self._slopes[_reads(row)][None]
        return self._slopes[row.attention] if row.is_image else self._heads(row, name)

    def pattern(self, row: LayerModules) -> Float[Tensor, "batch head dst src"]:
        """At the attention pattern of a row; asked only if `patterns` were."""
        return self._slopes[row.site("pattern")]

    @classmethod
    def mean(cls, runs: "Iterable[ReaderGradients]") -> "ReaderGradients":
        """Mean of the gradients of several runs, which are dropped one by one."""
        total: ReaderGradients | None = None
        n = 0
        for run in runs:
            n += 1
            if total is None:
                total = run
                continue
            for place, slope in run._slopes.items():
                total._slopes[place] = total._slopes[place] + slope
        assert total is not None, "there is at least one run"
        total._slopes = {place: slope / n for place, slope in total._slopes.items()}
        return total

    def _heads(self, row: LayerModules, part: Any) -> Float[Tensor, "head batch pos d_model"]:
        return einsum(
            self._slopes[row.site(part)],
            head_weights(row, part).detach(),
            "b pos head d, head d model -> head b pos model",
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """Gradients by site, or by the module that reads, and the images that blocks read."""

    margins: Tensor
    cache: ActivationCache
    slopes: dict[Site | nn.Module, Tensor]
    images: dict[nn.Module, Tensor]


def _run(
    model: PatchableModel,
    batch: Mapping[str, Tensor],
    given: Mapping[Site, Tensor | None],
    margins: Margins,
    recorded: Sequence[Site],
    patterns: bool,
) -> _Run:
    rows = model.modules.layers
    sites = [rows[-1].site("resid_post")]
    sites += [row.site("z") for row in rows if row.is_image or patterns]
    sites += [row.site(part) for row in rows for part in ("q", "k", "v") if row.has(part)]
    seen: dict[nn.Module, Tensor] = {}
    images: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        seen[module] = args[0].view_as(args[0])
        return (seen[module], *args[1:])

    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        for row in rows:
            if row.mlp is not None:
                stack.callback(_reads(row).register_forward_pre_hook(keep).remove)
            if row.is_image:
                hook = row.attention.register_forward_pre_hook(
                    lambda module, args: images.__setitem__(module, args[0].detach())
                )
                stack.callback(hook.remove)
        edits = {site: partial(_as_leaf, value) for site, value in given.items()}
        stack.enter_context(model.hooks.editing(edits))
        asked = dict.fromkeys((*sites, *recorded))
        values = stack.enter_context(model.hooks.reading(asked, frames=bool(recorded)))
        found = margins(model.call(batch))
    places: list[Site | nn.Module] = [*sites, *seen]
    wanted = [values[site] for site in sites] + list(seen.values())
    # What flows into a given z or MLP output goes nowhere.
    slopes = torch.autograd.grad(found.sum(), wanted, allow_unused=True, materialize_grads=True)
    by_place = dict(zip(places, slopes, strict=True))
    for site in set(given) & set(by_place):
        by_place[site] = torch.zeros_like(by_place[site])
    if patterns:
        by_place |= _at_patterns(rows, values, by_place)
    cache = ActivationCache({site: values[site].detach() for site in recorded}, values.frames)
    return _Run(found.detach(), cache, by_place, images)


def _at_patterns(
    rows: Sequence[LayerModules],
    values: Mapping[Site, Tensor],
    slopes: Mapping[Site | nn.Module, Tensor],
) -> dict[Site, Tensor]:
    """Gradients there, from those at z, which is the pattern times v."""
    return {
        row.site("pattern"): einsum(
            slopes[row.site("z")],
            values[row.site("v")].detach(),
            "b dst head d, b src head d -> b head dst src",
        )
        for row in rows
        if row.has("pattern")
    }


def _as_leaf(given: Tensor | None, current: Tensor) -> Tensor:
    return (current if given is None else given).detach().requires_grad_()


def _pulled_back_groups(model: PatchableModel, run: _Run) -> dict[Site | nn.Module, Tensor]:
    """By block, the gradient at the image that each group of its channels reads."""
    return {
        row.attention: _groups(row, run.images[row.attention], run.slopes[row.site("z")])
        for row in model.modules.layers
        if row.is_image
    }


def _groups(
    row: LayerModules, image: Tensor, slopes: Float[Tensor, "batch pos head d_head"]
) -> Float[Tensor, "head batch pixel d_in"]:
    """Each group's hidden channels are a function of the whole image that the block reads."""
    with torch.no_grad():
        hidden = hidden_channels(row, image)
    height, width = hidden.shape[2:]
    found: list[Tensor] = []
    for head in range(row.n_heads):
        alone = torch.zeros_like(slopes)
        alone[:, :, head] = slopes[:, :, head]
        flat = rearrange(alone, "b (h w) head d -> b (head d) h w", h=height, w=width)
        back = pulled_back(lambda x: hidden_channels(row, x), image, flat)
        found.append(rearrange(back, "b c h w -> b (h w) c"))
    return torch.stack(found)


def _reads(row: LayerModules) -> nn.Module:
    """The module that reads the stream for a row's MLP."""
    module = row.mlp if row.mlp_in is None else row.mlp_in
    assert module is not None, "asked only of rows with an MLP"
    return module
