"""Core and shortcut erased at every stage of a model: before and after, and against chance.

An interval of a drop holds two sources of chance: the quads, and the few random erasures that the
map is compared with (Student's t over their means, added in squares).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from behavior.estimates import Estimate
from behavior.examples import Quad
from behavior.intervals import estimate_proportion
from behavior.readout import Readout
from behavior.resampling import Resamples
from behavior.statistics import estimate_means
from patching.models.model import PatchableModel
from probes.erasure import (
    CONCEPTS,
    Concept,
    Eraser,
    concept_targets,
    cue_effects,
    erased_margins,
    fit_eraser,
    random_eraser,
    read_after,
    removed_variance,
)
from probes.linear import too_few
from probes.stream import Point, Progress
from probes.use import Use, decide_use

RANDOM_DRAWS = 5


@dataclass(frozen=True, eq=False)
class ErasureQuads:
    """On which quads maps are fitted, and on which they are tested.

    Attributes:
        quads: All of them.
        label: [quad] number of its label among the classes.
        foil: [quad] number of its foil.
        tested: [quad] whether the model is run on it with the map; maps are fitted on the others.
        resamples: Of the tested quads.
    """

    quads: tuple[Quad[Any], ...]
    label: Int[np.ndarray, " quad"]
    foil: Int[np.ndarray, " quad"]
    tested: Bool[np.ndarray, " quad"]
    resamples: Resamples

    @property
    def held_out(self) -> tuple[Quad[Any], ...]:
        """The tested quads."""
        return tuple(q for q, held in zip(self.quads, self.tested, strict=True) if held)


@dataclass(frozen=True, slots=True)
class Erasure:
    """One concept erased at one stage.

    Attributes:
        point: The stage.
        concept: What was erased.
        rank: Directions erased; 0 if nothing was.
        removed: Share of the variance of the mean stream that they hold, on the tested quads.
        removed_random: The same of the random maps, on average.
        before: Readability before, chance .50.
        after: Readability after.
        effects: Effects on the probability of the label, by concept: `intact`, `erased`, `random`.
        accuracy: Share of right answers with the map, in the order A, N, C, L.
        change: `intact` less `erased`, of the concept's own effect.
        drop: `random` less `erased`, of the same.
        use: Whether it is used.
    """

    point: Point
    concept: Concept
    rank: int
    removed: float | None
    removed_random: float | None
    before: Estimate
    after: Estimate
    effects: Mapping[Concept, Mapping[str, Estimate]]
    accuracy: tuple[Estimate, ...]
    change: Estimate
    drop: Estimate
    use: Use


def erase_by_stage(
    model: PatchableModel,
    given: ErasureQuads,
    readout: Readout,
    points: Sequence[Point],
    features: Sequence[Float[np.ndarray, "quad 4 _"]],
    *,
    draws: int = RANDOM_DRAWS,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> tuple[Erasure, ...]:
    """Erase core and shortcut at every stage, one at a time.

    Args:
        model: The model.
        given: Quads, and which of them are tested.
        readout: From its classes to labels.
        points: Its stages.
        features: [stage] mean stream of the quads' cells; see `probes.stream.pooled_stream`.
        draws: Random maps beside each; at least two.
        seed: Of the random maps.
        batch_size: Inputs in one forward.
        progress: Told how many maps were run.
    """
    runner = _Runner(model, given, readout, batch_size)
    found: list[Erasure] = []
    for number, (point, stream) in enumerate(zip(points, features, strict=True)):
        generator = np.random.default_rng([seed, number])
        for concept in CONCEPTS:
            found.append(runner.erase(point, stream, concept, draws, generator))
            if progress is not None:
                progress(len(found), len(points) * len(CONCEPTS))
    return tuple(found)


class _Runner:
    def __init__(
        self,
        model: PatchableModel,
        given: ErasureQuads,
        readout: Readout,
        batch_size: int | None,
    ) -> None:
        self.model, self.given, self.readout = model, given, readout
        self.batch_size = batch_size
        # Nothing is erased, so the stage does not matter.
        self.intact = self._margins(Point("", 0.0, model.site("input")), None)

    def erase(
        self,
        point: Point,
        features: Float[np.ndarray, "quad 4 d"],
        concept: Concept,
        draws: int,
        generator: np.random.Generator,
    ) -> Erasure:
        given = self.given
        fitted_on = {q.id for q, held in zip(given.quads, given.tested, strict=True) if not held}
        few = too_few(features.shape[-1], len(fitted_on))
        if few is not None:
            return _nothing(point, concept, few)
        targets = concept_targets(given.label, given.foil, concept)[~given.tested]
        eraser = fit_eraser(features[~given.tested], targets)
        if eraser.rank == 0:
            return _nothing(point, concept, "nothing of it goes along with the mean stream")
        fitted = features[~given.tested]
        others = [random_eraser(fitted, eraser.rank, generator) for _ in range(draws)]
        before, after = (
            estimate_proportion(
                read_after(each, features, given.label, given.foil, given.tested, concept),
                given.resamples,
            )
            for each in (None, eraser)
        )
        erased = self._margins(point, eraser)
        random = [self._margins(point, other) for other in others]
        change = self._change(erased, concept)
        drop = self._drop(erased, random, concept)
        held_out = features[given.tested]
        return Erasure(
            point,
            concept,
            eraser.rank,
            removed_variance(eraser, held_out),
            float(np.mean([removed_variance(other, held_out) for other in others])),
            before,
            after,
            self._effects(erased, random),
            tuple(self._accuracy(erased)),
            change,
            drop,
            decide_use(before, after, change, drop),
        )

    def _margins(self, point: Point, eraser: Eraser | None) -> Float[np.ndarray, "quad 4"]:
        held_out = self.given.held_out
        return erased_margins(self.model, held_out, self.readout, point, eraser, self.batch_size)

    def _effects(
        self, erased: Float[np.ndarray, "quad 4"], random: Sequence[Float[np.ndarray, "quad 4"]]
    ) -> dict[Concept, dict[str, Estimate]]:
        found: dict[Concept, dict[str, Estimate]] = {}
        for concept in CONCEPTS:
            columns = {
                "intact": cue_effects(self.intact)[concept],
                "erased": cue_effects(erased)[concept],
                "random": np.mean([cue_effects(each)[concept] for each in random], axis=0),
            }
            values = np.stack(list(columns.values()), axis=1)
            means = estimate_means(values, self.given.resamples, bounds=(-1.0, 1.0))
            found[concept] = dict(zip(columns, means, strict=True))
        return found

    def _accuracy(self, margins: Float[np.ndarray, "quad 4"]) -> list[Estimate]:
        right = (margins >= 0) == np.array([True, True, False, False])
        return [estimate_proportion(right[:, [cell]], self.given.resamples) for cell in range(4)]

    def _change(self, erased: Float[np.ndarray, "quad 4"], concept: Concept) -> Estimate:
        taken = cue_effects(self.intact)[concept] - cue_effects(erased)[concept]
        return estimate_means(taken[:, None], self.given.resamples)[0]

    def _drop(
        self,
        erased: Float[np.ndarray, "quad 4"],
        random: Sequence[Float[np.ndarray, "quad 4"]],
        concept: Concept,
    ) -> Estimate:
        ours = cue_effects(erased)[concept]
        theirs = np.stack([cue_effects(each)[concept] for each in random])
        over_quads = estimate_means((theirs.mean(axis=0) - ours)[:, None], self.given.resamples)[0]
        return _widen(over_quads, theirs.mean(axis=1))


def _widen(estimate: Estimate, draws: Float[np.ndarray, " draw"]) -> Estimate:
    """The interval with the chance of the draws in it."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    quantile = float(special.stdtrit(len(draws) - 1, 0.975))
    reach = quantile * float(np.std(draws, ddof=1)) / sqrt(len(draws))
    return Estimate(
        estimate.value,
        estimate.value - sqrt((estimate.value - estimate.low) ** 2 + reach**2),
        estimate.value + sqrt((estimate.high - estimate.value) ** 2 + reach**2),
        estimate.n,
    )


def _nothing(point: Point, concept: Concept, reason: str) -> Erasure:
    missing = Estimate.null(reason)
    of_one: dict[str, Estimate] = dict.fromkeys(("intact", "erased", "random"), missing)
    effects: dict[Concept, Mapping[str, Estimate]] = {each: of_one for each in CONCEPTS}
    cells = (missing,) * 4
    return Erasure(
        point,
        concept,
        rank=0,
        removed=None,
        removed_random=None,
        before=missing,
        after=missing,
        effects=effects,
        accuracy=cells,
        change=missing,
        drop=missing,
        use="undecided",
    )
