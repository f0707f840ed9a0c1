"""What one model can read and another cannot: paired losses of readability, stage by stage.

Two models are compared at the stages of the second. Each goes with the stage of the first whose
relative depth is nearest, the earlier one of two as near, by which less has been computed.
"""

from collections.abc import Sequence

import numpy as np

from behavior.estimates import Estimate
from behavior.intervals import estimate_gap
from behavior.resampling import Resamples
from circuits.compare.profile.location import StageLoss
from circuits.compare.profile.stage_reading import LEFT_OUT, StageReading, StageReadings
from probes.linear import readability, right_answers


def stage_losses(readings: StageReadings, first: str, second: str) -> tuple[StageLoss, ...]:
    """Loss of the core feature on N and L from one model to another, at the second's stages.

    Stages at which a decoder has not read the input are left out.
    """
    if readings.resamples is None or first not in readings.models or second not in readings.models:
        return ()
    ours = [each for each in readings.models[first] if not each.point.blind]
    theirs = [each for each in readings.models[second] if not each.point.blind]
    return tuple(_loss(_nearest(ours, each), each, readings.resamples) for each in theirs)


def _loss(one: StageReading, other: StageReading, resamples: Resamples) -> StageLoss:
    point, compared = other.point, one.point.name
    if one.answers is None or other.answers is None:
        reason = one.reason or other.reason or LEFT_OUT
        missing = Estimate.null(reason)
        return StageLoss(point.name, point.depth, compared, missing, missing, missing)
    margins = one.answers.core_NL, other.answers.core_NL
    hits = np.hstack([right_answers(each, "core_NL") for each in margins])
    first = np.zeros_like(hits)
    first[:, : margins[0].shape[1]] = True
    return StageLoss(
        point.name,
        point.depth,
        compared,
        readability(margins[0], "core_NL", resamples),
        readability(margins[1], "core_NL", resamples),
        estimate_gap(hits, resamples, first=first, second=~first),
    )


def _nearest(readings: Sequence[StageReading], to: StageReading) -> StageReading:
    """The reading at the nearest depth; rounded, so that of two as near the earlier is found."""
    return min(readings, key=lambda each: round(abs(each.point.depth - to.point.depth), 9))
