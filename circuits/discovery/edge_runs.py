"""Runs pairs for the scores of edges, chunk by chunk, in bounded memory.

The changes of all writers are [writer, batch, pos, d_model]; chunks are cut so that these stay
below `circuits.stream.MOST_BYTES`, whatever the number of pairs. A gradient method says where
gradients are taken; the score of an edge u -> v is then, for each pair,

    sum over positions of (clean - corrupted, of u, as v sees it) . d margin / d what v reads

which is positive where the edge carries the contrast, in both directions. Edges into q and k may
instead be scored by the exact change of the attention pattern; see `circuits.discovery.patterns`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from behavior.errors import DataError
from behavior.examples import Pairs
from behavior.inputs import Input
from behavior.readout import Collapse, Readout
from circuits.discovery.patterns import Attention, PatternChanges, mean_scores, recorded_calls
from circuits.discovery.scores import EdgeScores, Level
from circuits.discovery.sides import BothRuns as BothRuns
from circuits.discovery.sides import Side as Side
from circuits.gradients import ReaderGradients
from circuits.graph import Graph
from circuits.stream import TwoRuns, carry, fitting_pairs, flow_sites
from patching.effects import Direction
from patching.models.model import PatchableModel
from patching.models.nodes import Site
from patching.runs import PairRunner, Progress


class EdgeRunner:
    """Runs the pairs of one discovery.

    Args:
        model: The model.
        pairs: Token-aligned pairs.
        direction: Which run is patched into which.
        readout: From the model's classes to labels and foils; by their names if missing.
        collapse: How the logits of several classes become one.
        batch_size: Pairs in a chunk; None fits the processor's cache.
        progress: Called after each chunk.
        attention: How changes pass the softmax of attention: `linear`, or `exact_pattern`, which
            forms the pattern anew for every edge into q and k. A ResNet has none of either.

    Raises:
        DataError: If there are no pairs, they are not aligned, the model's backend is not plain
            hooks, or the option is unknown.
    """

    def __init__(
        self,
        model: PatchableModel,
        pairs: Pairs[Input],
        direction: Direction = "noise",
        readout: Readout | None = None,
        collapse: Collapse = "logsumexp",
        batch_size: int | None = None,
        progress: Progress | None = None,
        attention: Attention = "linear",
    ) -> None:
        if attention not in get_args(Attention):
            raise DataError(
                f"Unknown attention {attention!r}; expected 'linear' or 'exact_pattern'."
            )
        if model.backend.name != "hooks":
            raise DataError(
                f"Circuits run on plain hooks only, not on {model.backend.name!r}. Load the model "
                "without backend=."
            )
        if len(pairs) == 0:
            raise DataError("There are no pairs. Give at least one.")
        self.model = model
        self.pairs = pairs
        self.direction: Direction = direction
        self.graph = Graph.of(model)
        self.sites = flow_sites(model)
        self.runner = PairRunner(model, pairs, direction, readout, collapse)
        self._batch_size = batch_size
        self._progress = progress
        self._exact = attention == "exact_pattern"

    def chunks(self) -> Iterator[list[int]]:
        """Positions of all pairs in chunks of similar length; progress is told after each."""
        done = 0
        for rows in self.model.chunks(self.runner.lengths, self._batch_size):
            longest = max(self.runner.lengths[i] for i in rows)
            most = fitting_pairs(self.model, self.graph, longest)
            for start in range(0, len(rows), most):
                part = rows[start : start + most]
                yield part
                done += len(part)
                if self._progress is not None:
                    self._progress(done, len(self.pairs))

    def batch(self, rows: Sequence[int], clean: bool) -> dict[str, Tensor]:
        """Keyword arguments of one run of some pairs."""
        return self.runner.batch(rows, clean)

    def both(self, rows: list[int], gradients: str = "") -> BothRuns:
        """Both runs of some pairs, recorded.

        Args:
            rows: Positions of the pairs.
            gradients: In which runs they are taken: none, `target` or `both`.
        """
        into_clean = self.direction == "noise"
        target, source = (
            self._side(rows, into_clean, gradients in ("target", "both")),
            self._side(rows, not into_clean, gradients == "both"),
        )
        clean, corrupted = (target, source) if into_clean else (source, target)
        return BothRuns(rows, clean, corrupted, target, source)

    def gradients(
        self, both: BothRuns, values: Mapping[Site, Tensor | None], recorded: Sequence[Site] = ()
    ) -> ReaderGradients:
        """Gradients in the target run, where some of its values are replaced."""
        return self._gradients(both.target.batch, both.pairs, values, recorded)

    def entries(self) -> tuple[Site, ...]:
        """Where the embeddings enter."""
        return tuple(row.site("resid_pre") for row in self.model.modules.entries)

    def contract(
        self,
        both: BothRuns,
        gradients: ReaderGradients,
        patterns: Sequence[PatternChanges] | None = None,
    ) -> Float[Tensor, "batch edge"]:
        """Changes of writers times gradients at readers, edge by edge.

        Args:
            both: Both runs.
            gradients: At what every reader reads.
            patterns: Changes of patterns, which score the edges into q and k by their mean; none
                score them by the gradients too. By default those of the target run, if asked for.
        """
        runs = TwoRuns(both.corrupted.cache, both.clean.cache)
        exact = self.patterns(both, both.target, gradients) if patterns is None else patterns
        found: list[Tensor] = []
        for arrival in carry(self.model, self.graph, runs):
            point = arrival.point
            for name in gradients.names(point):
                if exact and name in ("q", "k") and point.row is not None:
                    row = self.model.modules.layers[point.row]
                    found.append(mean_scores(exact, row, name, arrival.changes))
                else:
                    found.append(_products(arrival.changes, gradients.part(point, name)))
        return torch.cat(found, dim=1)

    def patterns(
        self, both: BothRuns, side: Side, gradients: ReaderGradients
    ) -> list[PatternChanges]:
        """Changes of one side's attention patterns, if they were asked for and it has any."""
        calls = recorded_calls(self.model, dict(side.batch)) if self._exact else {}
        sign = -1 if side is both.clean else 1
        return [PatternChanges(self.model, calls, gradients, sign)] if calls else []

    def margins(self) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
        """Margins of all pairs in the clean and in the corrupted run, in logits."""
        clean, corrupted = torch.empty(2, len(self.pairs), dtype=self.model.dtype)
        for rows in self.chunks():
            for side, is_clean in ((clean, True), (corrupted, False)):
                logits = self.model.forward(self.batch(rows, is_clean))
                side[rows] = self.runner.margins(logits, rows).cpu()
        return clean, corrupted

    def score(
        self,
        estimate: Callable[[BothRuns], Float[Tensor, "batch edge"]],
        method: str,
        *,
        gradients: str = "",
        level: Level = "edge",
        settings: Mapping[str, object] | None = None,
    ) -> EdgeScores:
        """Scores of all pairs.

        Args:
            estimate: Gives those of one chunk.
            method: Name of the algorithm.
            gradients: As in `both`.
            level: Of the scores.
            settings: Options of the algorithm.
        """
        n, dtype = len(self.pairs), self.model.dtype
        values = torch.empty(n, len(self.graph), dtype=dtype)
        clean, corrupted = torch.empty(n, dtype=dtype), torch.empty(n, dtype=dtype)
        for rows in self.chunks():
            both = self.both(rows, gradients)
            values[rows] = estimate(both).detach().cpu()
            clean[rows] = both.clean.margins.cpu()
            corrupted[rows] = both.corrupted.margins.cpu()
        return self.scores(values, clean, corrupted, method, level=level, settings=settings)

    def scores(
        self,
        values: Float[Tensor, "pair edge"],
        clean: Float[Tensor, " pair"],
        corrupted: Float[Tensor, " pair"],
        method: str,
        *,
        level: Level = "edge",
        settings: Mapping[str, object] | None = None,
        unit: str = "logits",
    ) -> EdgeScores:
        """The same, from values that are there."""
        return EdgeScores(
            values=values,
            edges=self.graph.edges,
            clean=clean,
            corrupted=corrupted,
            units=self.pairs.units,
            templates=self.pairs.templates,
            steps=self.pairs.steps,
            contrast=self.pairs.contrast,
            direction=self.direction,
            method=method,
            level=level,
            settings=dict(settings or {}),
            model=self.model.name,
            digest=self.model.digest,
            family=self.model.spec.family,
            readout=self.runner.readout.describe(),
            unit=unit,
        )

    def _side(self, rows: list[int], clean: bool, gradients: bool) -> Side:
        if not gradients:
            run = self.runner.run(rows, clean, self.sites)
            return Side(run.batch, run.margins, run.cache)
        batch = self.batch(rows, clean)
        found = self._gradients(batch, rows, dict.fromkeys(self.entries()), self.sites)
        return Side(batch, found.margins, found.cache, found)

    def _gradients(
        self,
        batch: Mapping[str, Tensor],
        rows: Sequence[int],
        values: Mapping[Site, Tensor | None],
        recorded: Sequence[Site],
    ) -> ReaderGradients:
        def margins(logits: Tensor) -> Tensor:
            return self.runner.margins(logits, rows)

        return ReaderGradients(
            self.model, self.graph, batch, values, margins, recorded, self._exact
        )


def _products(
    changes: Float[Tensor, "writer batch pos d_model"],
    slopes: Float[Tensor, "reader batch pos d_model"],
) -> Float[Tensor, "batch edge"]:
    """Of each pair, reader by reader; a matrix product a pair, where an einsum would copy both."""
    return torch.stack(
        [
            (slopes[:, i].flatten(1) @ changes[:, i].flatten(1).T).flatten()
            for i in range(changes.shape[1])
        ]
    )
