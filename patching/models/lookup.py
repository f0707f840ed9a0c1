"""Finds the sites of one model by their names, and says what there is when one is not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from behavior.errors import DataError
from patching.models.nodes import ACTIVATIONS, Activation, Site, parse_site
from patching.models.rows import BoundModules, LayerModules
from patching.models.spec import ModelSpec

_LARGE: frozenset[Activation] = frozenset({"pattern", "result"})


@dataclass(frozen=True, slots=True)
class SiteLookup:
    """The sites of one model.

    Attributes:
        name: Of the model, for messages.
        modules: Its rows.
        spec: Its sizes.
    """

    name: str
    modules: BoundModules
    spec: ModelSpec

    def row(self, key: str | Site) -> LayerModules:
        """The row that a site belongs to.

        Raises:
            DataError: If the model has none.
        """
        site = parse_site(key)
        row = self.modules.row(site)
        if row is None or (site.head is not None and site.head >= row.n_heads):
            raise DataError(f"{str(key)!r} is not in {self.name!r}, which has {self._rows()}.")
        return row

    def site(self, key: str | Site) -> Site:
        """A site from its text, a TransformerLens name or a node's name.

        Raises:
            DataError: If the model has no such layer or head.
        """
        site, entries = parse_site(key), self.modules.entries
        if site == Site(0, "resid_pre") and len(entries) == 1:
            return entries[0].site("resid_pre")
        self.row(key)
        return site

    def sites(self, keys: Sequence[str | Site] | None) -> tuple[Site, ...]:
        """Whole sites; an activation's name means it in every row, None all that are not large.

        Raises:
            DataError: If the model has no such site.
        """
        if keys is None:
            keys = [activation for activation in ACTIVATIONS if activation not in _LARGE]
        found: dict[Site, None] = {}
        for key in keys:
            if key in ACTIVATIONS:
                activation = cast(Activation, key)
                rows = [row for row in self.modules.layers if row.has(activation)]
                found |= dict.fromkeys(row.site(activation) for row in rows)
            else:
                found[self.site(key).whole] = None
        return tuple(found)

    def _rows(self) -> str:
        last = self.spec.n_heads - 1
        if len(self.spec.inputs) == 1 and self.spec.modality == "text":
            return f"the layers 0 to {self.spec.n_layers - 1} with the heads 0 to {last}"
        return f"the rows {', '.join(self.spec.rows)} with the heads 0 to {last}"
