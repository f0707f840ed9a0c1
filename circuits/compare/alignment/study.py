"""Evidence about teacher, student and their nulls, all from the same inputs."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from behavior.examples import Contrast
from behavior.readout import Readout
from circuits.compare.alignment.evidence import Evidence, collect_evidence
from circuits.compare.alignment.inputs import EvidenceInputs, shared_words
from circuits.compare.alignment.similarity import HeadSimilarity
from circuits.compare.untrained import untrained_like
from patching.activation import patch_heads
from patching.effects import Direction, Effects
from patching.models.model import PatchableModel

EffectsByContrast = Mapping[Contrast, Effects]
Shares = dict[Contrast, Float[np.ndarray, "_ _"]]
"""By contrast: [pair, head]; contrasts and models have their own numbers of both."""


class Study:
    """Evidence about several models from the same inputs.

    Args:
        given: The inputs.
        pair: Teacher and student.
        twins: Of the teacher, and of the student; words are compared that all models see.
        direction: Of effects that are measured.
        readouts: Of teacher and student.
    """

    def __init__(
        self,
        given: EvidenceInputs,
        pair: tuple[PatchableModel, PatchableModel],
        twins: tuple[Sequence[PatchableModel], Sequence[PatchableModel]],
        direction: Direction,
        readouts: tuple[Readout, Readout] | None,
    ) -> None:
        self._given = given
        self._models = (*pair, *twins[0], *twins[1])
        self._sides = (0, 1, *(0 for _ in twins[0]), *(1 for _ in twins[1]))
        self._words = shared_words(self._models, given.inputs)
        self._direction: Direction = direction
        self._readouts = readouts

    def measure(self, place: int, model: PatchableModel) -> EffectsByContrast:
        """Effects of every head of a model that is read like the one at this place."""
        readout = None if self._readouts is None else self._readouts[self._sides[place]]
        return {
            contrast: patch_heads(model, pairs, self._direction, readout=readout)
            for contrast, pairs in self._given.pairs.items()
        }

    def evidence(
        self, place: int, model: PatchableModel, effects: EffectsByContrast | None = None
    ) -> Evidence:
        """Evidence about a model that reads inputs like the one at this place."""
        measured = effects or self.measure(place, model)
        return collect_evidence(model, self._given, self._words[place], measured)

    def nulls(
        self, own: tuple[Evidence, Evidence], n_untrained: int, seed: int
    ) -> dict[str, HeadSimilarity]:
        """Pairs in which nothing can correspond, by name.

        Args:
            own: Evidence about teacher and student.
            n_untrained: Untrained nets of each architecture.
            seed: Of the first of them.
        """
        found: dict[str, HeadSimilarity] = {}
        for i in range(n_untrained):
            teacher, student = (
                self.evidence(side, untrained_like(self._models[side], seed + i)) for side in (0, 1)
            )
            found[f"untrained teacher {i}"] = HeadSimilarity(teacher, own[1])
            found[f"untrained student {i}"] = HeadSimilarity(own[0], student)
        for place in range(2, len(self._models)):
            twin, side = self.evidence(place, self._models[place]), self._sides[place]
            number = self._sides[2 : place + 1].count(side)
            pair = (own[0], twin) if side else (twin, own[1])
            found[f"{('teacher', 'student')[side]} twin {number}"] = HeadSimilarity(*pair)
        return found


def effect_shares(
    effects: EffectsByContrast, heads: Sequence[str], given: EvidenceInputs
) -> Shares:
    """Effects on the chosen pairs as shares of the total range; 0 without a range."""
    known = set(given.units)
    rows: dict[Contrast, list[int]] = {
        contrast: [i for i, unit in enumerate(effects[contrast].units) if unit in known]
        for contrast in given.pairs
    }
    spans = [(effects[c].clean - effects[c].corrupted)[rows[c]].mean() for c in rows]
    span = abs(float(sum(spans)))
    found: Shares = {}
    for contrast, chosen in rows.items():
        one = effects[contrast]
        columns = [one.nodes.index(head) for head in heads]
        values = one.values.numpy()[np.ix_(chosen, columns)].astype(np.float64)
        found[contrast] = values / span if span > 0 else np.zeros_like(values)
    return found
