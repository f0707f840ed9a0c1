"""Effects by layer and word: the residual stream, or all heads of a layer, patched at one word.

Both runs are recorded; then, for each layer and each aligned word, the values at the word's tokens
go from one run into the other, and what follows is re-run. The result belongs to single pairs;
averages are taken over pairs that have as many words.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Contrast, Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from patching.effects import Direction
from patching.files import read_record, write_record
from patching.interventions import Intervention
from patching.models.model import PatchableModel
from patching.models.rows import LayerModules
from patching.patched_runs import open_runs, recorded_sites
from patching.runs import Chunk, MeasuredPairs, PairRunner, Progress
from patching.words import WordLayout, align_words, has_word, word_index

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PositionSite = Literal["resid_pre", "resid_post", "heads"]

_KIND = "position effects"


@dataclass(frozen=True, slots=True)
class PositionEffects:
    """Effect of each layer and word on each pair, in logits.

    Attributes:
        values: [pair, layer, word] effects; 0 beyond a pair's last word.
        words: [pair] the aligned words of each pair, special tokens included; `nurse/judge` where
            clean and corrupted differ.
        clean: [pair] margins of the clean run, in logits.
        corrupted: [pair] margins of the corrupted run, in logits.
        units: [pair] unit of resampling.
        templates: [pair] cluster of the unit; empty strings if none.
        contrast: What differs between clean and corrupted.
        direction: `noise` (corrupted into clean) or `denoise` (clean into corrupted).
        site: What was patched at the word: `resid_pre`, `resid_post`, or z of all `heads`.
        model: Name of the model.
        readout: How classes became labels.
        unit: Of values and margins.
    """

    values: Float[Tensor, "pair layer word"]
    words: tuple[tuple[str, ...], ...]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    units: tuple[str, ...]
    templates: tuple[str, ...]
    contrast: Contrast
    direction: Direction
    site: PositionSite
    model: str = ""
    readout: Mapping[str, object] = field(default_factory=dict[str, object])
    unit: str = "logits"

    def __len__(self) -> int:
        return len(self.values)

    def of_pair(self, pair: int) -> Float[Tensor, "layer word"]:
        """Effects of one pair, for the words that it has."""
        return self.values[pair, :, : len(self.words[pair])]

    def alike(self) -> tuple[int, ...]:
        """Positions of the pairs with the most common number of words."""
        most = Counter(len(words) for words in self.words).most_common(1)[0][0]
        return tuple(i for i, words in enumerate(self.words) if len(words) == most)

    def mean(self, pairs: Sequence[int] | None = None) -> Float[Tensor, "layer word"]:
        """Mean over pairs with the same number of words; by default `alike()`.

        Raises:
            DataError: If the pairs differ in their number of words.
        """
        chosen = list(self.alike() if pairs is None else pairs)
        counts = {len(self.words[i]) for i in chosen}
        if len(counts) != 1:
            raise DataError(
                f"Pairs with {', '.join(map(str, sorted(counts)))} words cannot be averaged word "
                "by word. Choose pairs with as many words."
            )
        return self.values[chosen, :, : counts.pop()].mean(dim=0)

    def figure(self, pairs: Sequence[int] | None = None, limit: float | None = None) -> "Figure":
        """Heatmap of `mean(pairs)`, layer 0 at the bottom, words across.

        Args:
            pairs: Positions of the pairs; one pair shows its own words.
            limit: End of the colour range; by default the largest mean.
        """
        from patching.heatmap import positions_heatmap  # noqa: PLC0415  (plotly is slow to import)

        return positions_heatmap(self, self.alike() if pairs is None else tuple(pairs), limit)

    def save(self, path: Path | str) -> Path:
        """Write one safetensors file, with everything else as JSON in its header.

        Raises:
            ResultError: If it cannot be written.
        """
        return write_record(self, Path(path), _KIND)

    @classmethod
    def load(cls, path: Path | str) -> "PositionEffects":
        """Read what `save` wrote.

        Raises:
            ResultError: If the file is missing or is of another kind.
        """
        return read_record(cls, Path(path), _KIND)


def patch_positions(
    model: PatchableModel,
    pairs: Pairs[Input],
    direction: Direction = "noise",
    site: PositionSite = "resid_pre",
    *,
    batch_size: int | None = None,
    readout: Readout | None = None,
    collapse: Collapse = "logsumexp",
    progress: Progress | None = None,
) -> PositionEffects:
    """Exact effect of each layer at each aligned word, in logits; of T5, each encoder layer.

    Args:
        model: The model.
        pairs: Token-aligned pairs.
        direction: Noise or denoise.
        site: What moves: the stream before (`resid_pre`) or after (`resid_post`) a layer, or z of
            all its `heads`.
        batch_size: As in `patch_heads`.
        readout: As in `patch_heads`.
        collapse: As in `patch_heads`.
        progress: As in `patch_heads`.

    Raises:
        DataError: As in `patch_heads`.
    """
    runner = PairRunner(model, pairs, direction, readout, collapse)
    plan, layouts = _plan(model, site), align_words(model, pairs)
    table = _measure_words(runner, plan, layouts, batch_size, progress)
    values = rearrange(table.values, "pair (layer word) -> pair layer word", layer=len(plan))
    return PositionEffects(
        values=values * has_word(layouts)[:, None],
        words=tuple(layout.words for layout in layouts),
        clean=table.clean,
        corrupted=table.corrupted,
        units=pairs.units,
        templates=pairs.templates,
        contrast=pairs.contrast,
        direction=direction,
        site=site,
        model=model.name,
        readout=runner.readout.describe(),
    )


def _plan(model: PatchableModel, site: PositionSite) -> list[Intervention]:
    if site not in get_args(PositionSite):
        known = ", ".join(get_args(PositionSite))
        raise DataError(f"Cannot patch {site!r} at a position; expected one of: {known}.")
    rows = [(i, row) for i, row in enumerate(model.modules.layers) if _has_words(row)]
    if site == "heads":
        return [Intervention(row.name, "heads", i, tuple(range(row.n_heads))) for i, row in rows]
    kind = "stream" if site == "resid_pre" else "stream out"
    return [
        Intervention(str(row.site(site)), kind, i)
        for i, row in rows
        if model.modules.row(row.site(site)) is row
    ]


def _has_words(row: LayerModules) -> bool:
    """Whether its positions are the words of the input: T5's decoder begins with another token."""
    return not row.stack.startswith("dec")


def _measure_words(
    runner: PairRunner,
    plan: Sequence[Intervention],
    layouts: list[WordLayout],
    batch_size: int | None,
    progress: Progress | None,
) -> MeasuredPairs:
    """A column for each layer and word, up to the most words of any pair, layer by layer."""
    model, n_words = runner.model, has_word(layouts).shape[1]

    def patch(chunk: Chunk) -> Float[Tensor, "column batch"]:
        here = word_index([layouts[i] for i in chunk.pairs], chunk.n_positions, model.device)
        columns: list[Tensor] = []
        with open_runs(model, chunk) as run:
            for intervention in plan:
                logits = [run(intervention, here == word) for word in range(int(here.max()) + 1)]
                margins = runner.stacked_margins(logits, chunk.pairs)
                columns.append(_padded(margins, n_words))
        return torch.cat(columns)

    chunks = runner.chunks(recorded_sites(model, plan), batch_size=batch_size, progress=progress)
    return runner.measure(chunks, patch, n_columns=len(plan) * n_words)


def _padded(margins: Float[Tensor, "word batch"], n_words: int) -> Float[Tensor, "most batch"]:
    return torch.nn.functional.pad(margins, (0, 0, 0, n_words - len(margins)))
