"""Activations of one forward pass, and values to be put into another."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from behavior.errors import DataError
from patching.models.frames import Frame
from patching.models.nodes import Site, parse_site

Value = float | Tensor
"""What a site is set to: a number, or a tensor that has the site's shape or broadcasts to it."""


class ActivationCache(Mapping[Site | str, Tensor]):
    """Activations by site; the shapes are in `patching.models.nodes`.

    Read it with a `Site`, its text (`L3.z`, `L3.h5.z`), a TransformerLens name or a node's name.

    Attributes:
        frames: What surrounded the stream in the outputs of modules; empty if not recorded.
    """

    def __init__(
        self, values: Mapping[Site, Tensor], frames: Mapping[nn.Module, Frame] | None = None
    ) -> None:
        self._values = dict(values)
        self.frames = dict(frames or {})

    def __getitem__(self, key: Site | str) -> Tensor:
        site = self._find(key)
        if site.whole not in self._values:
            read = ", ".join(str(known) for known in self._values) or "none"
            raise DataError(f"{site} was not read. Name it in sites=; read were: {read}.")
        value = self._values[site.whole]
        return value if site.head is None else value.select(head_axis(site), site.head)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (Site, str)) and self._find(key).whole in self._values

    def __iter__(self) -> Iterator[Site]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _find(self, key: Site | str) -> Site:
        """The site that is meant: the input of a ResNet enters its first stage."""
        site = parse_site(key)
        staged = Site(0, "resid_pre", stack="s0")
        return staged if site == Site(0, "resid_pre") and staged in self._values else site


def head_axis(site: Site) -> int:
    """Axis of the heads in a whole site's value."""
    return 1 if site.activation == "pattern" else 2


def assign(site: Site, current: Tensor, value: Value, rows: Tensor | None) -> Tensor:
    """The value of a whole site with one head, or all of it, replaced.

    Args:
        site: What to replace; with a head, only that head.
        current: Value of the whole site in this batch.
        value: A number, or a tensor; see `PatchableModel.patch`.
        rows: Which of the value's rows this batch holds; None means all, in order.

    Raises:
        DataError: If the value does not fit.
    """
    changed = current.clone()
    target = changed if site.head is None else changed.select(head_axis(site), site.head)
    if not isinstance(value, Tensor):
        target[...] = value
        return changed
    fitted = value.to(current)
    if fitted.dim() == target.dim():
        fitted = _cut(site, _choose(fitted, rows, site), target)
    try:
        target[...] = torch.broadcast_to(fitted, target.shape)
    except RuntimeError as error:
        raise DataError(
            f"A value of shape {tuple(value.shape)} does not fit {site}, which has the shape "
            f"{tuple(target.shape)} in this batch."
        ) from error
    return changed


def _choose(value: Tensor, rows: Tensor | None, site: Site) -> Tensor:
    if rows is None or value.shape[0] == 1:
        return value
    if int(rows.max()) >= value.shape[0]:
        raise DataError(
            f"The value for {site} has {value.shape[0]} rows, but the inputs are more. Give one "
            "row for each input, or one row for all."
        )
    return value[rows.to(value.device)]


def _cut(site: Site, value: Tensor, target: Tensor) -> Tensor:
    """Leave out positions that this batch does not have."""
    axes = (target.dim() - 2, target.dim() - 1) if site.activation == "pattern" else (1,)
    for axis in axes:
        if value.shape[axis] > target.shape[axis]:
            value = value.narrow(axis, 0, target.shape[axis])
    return value
