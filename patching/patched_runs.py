"""Patched runs of one chunk: by the suffix engine, or by another library's whole forwards."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patching.interventions import Intervention, needed_sites, patched_logits
from patching.models.cache import ActivationCache
from patching.models.model import PatchableModel
from patching.models.nodes import Activation, Site
from patching.runs import Chunk
from patching.suffix import open_suffix

PatchedRun = Callable[[Intervention, Tensor | None], Float[Tensor, "batch n_classes"]]
"""From an intervention, and the positions [batch, pos] that it moves or None for all, to logits."""

_MOVED: dict[str, tuple[Activation, ...]] = {
    "inputs": ("resid_pre",),
    "stream": ("resid_pre",),
    "stream out": ("resid_post",),
    "heads": ("z",),
    "mlp": ("mlp_out",),
    "pattern": ("q", "k"),
    "values": ("v",),
}


@contextmanager
def open_runs(model: PatchableModel, chunk: Chunk) -> Generator[PatchedRun, None, None]:
    """Runs of a chunk's target with values of its source, on the model's backend."""
    if model.backend.name != "hooks":
        yield _Forwards(model, chunk).run
        return
    with open_suffix(model, chunk.target.batch, chunk.target.cache) as suffix:
        source = chunk.source.cache
        yield lambda intervention, where: patched_logits(suffix, source, intervention, where)


def recorded_sites(model: PatchableModel, plan: Sequence[Intervention]) -> tuple[Site, ...]:
    """What has to be recorded of both runs on the model's backend."""
    if model.backend.name == "hooks":
        return needed_sites(model, plan)
    return tuple(sorted({site for one in plan for site in _moved_sites(model, one)}))


@dataclass(frozen=True, slots=True)
class _Forwards:
    """Whole forwards, with the values of the source set at the sites that move."""

    model: PatchableModel
    chunk: Chunk

    def run(
        self, intervention: Intervention, where: Bool[Tensor, "batch pos"] | None
    ) -> Float[Tensor, "batch n_classes"]:
        target, source = self.chunk.target.cache, self.chunk.source.cache
        values = {
            site: _mixed(site, target, source, intervention, where)
            for site in _moved_sites(self.model, intervention)
        }
        return self.model.backend.patched(self.chunk.target.batch, values)


def _moved_sites(model: PatchableModel, intervention: Intervention) -> list[Site]:
    rows = [model.modules.layers[intervention.layer]]
    if intervention.kind == "inputs":
        rows = list(model.modules.entries)
    return [row.site(activation) for row in rows for activation in _MOVED[intervention.kind]]


def _mixed(
    site: Site,
    target: ActivationCache,
    source: ActivationCache,
    intervention: Intervention,
    where: Bool[Tensor, "batch pos"] | None,
) -> Tensor:
    """The target's value, with that of the source where something moves."""
    value, other = target[site].clone(), source[site]
    if intervention.kind == "heads":
        heads = list(intervention.heads)
        value[:, :, heads] = other[:, :, heads]
        other = value
    if where is None:
        return other
    kept = where.view(*where.shape, *[1] * (other.dim() - 2))
    return torch.where(kept, other, target[site])
