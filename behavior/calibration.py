"""Expected calibration error: how far confidence is from accuracy, over bins of confidence.

    ECE = sum over bins of |sum of (right - confidence) in the bin| / number of answers

with 15 equal bins, as torchmetrics' MulticlassCalibrationError(norm="l1") has them (a confidence
of exactly 1 makes a bin of its own). torchmetrics gives the value; the resamples need the same
sum under thousands of weightings, which it cannot give.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float

from behavior.answers import Answers
from behavior.estimates import Estimate, estimate_replicates
from behavior.resampling import Resamples

N_BINS = 15


def calibration_error(answers: Answers) -> float:
    """ECE of all answers, from 0 to 1, by torchmetrics."""
    # Takes about two seconds to import, as it loads transformers.
    from torchmetrics.functional.classification import (  # noqa: PLC0415
        multiclass_calibration_error,
    )

    pooled = answers.pooled
    error = multiclass_calibration_error(
        torch.from_numpy(pooled.probabilities[:, 0]),
        torch.from_numpy(pooled.truth[:, 0]),
        num_classes=answers.n_labels,
        n_bins=N_BINS,
        norm="l1",
        validate_args=False,
    )
    return float(error)


def weighted_calibration_error(
    confidence: Float[np.ndarray, "row answer"],
    right: Bool[np.ndarray, "row answer"],
    resamples: Resamples,
) -> Float[np.ndarray, " replicate"]:
    """ECE of all answers (first) and on each resample of their units."""
    # torchmetrics rounds to float32 before binning: an edge must fall to the same side here.
    edges = torch.linspace(0, 1, N_BINS + 1).numpy()
    bins = np.searchsorted(edges, confidence.astype(np.float32), side="right") - 1
    excess = (right - confidence)[..., None] * (bins[..., None] == np.arange(N_BINS + 1))
    weights = np.vstack([np.ones(resamples.n_units), resamples.weights])
    sizes = resamples.totals(np.full(len(confidence), float(confidence.shape[1])))
    return np.abs(weights @ resamples.totals(excess.sum(1))).sum(1) / (weights @ sizes)


def replicate_calibration_error(
    answers: Answers, resamples: Resamples
) -> Float[np.ndarray, " replicate"]:
    """ECE by torchmetrics (first) and on each resample."""
    replicates = weighted_calibration_error(answers.confidence, answers.right, resamples)
    replicates[0] = calibration_error(answers)
    return replicates


def estimate_calibration_error(answers: Answers, resamples: Resamples) -> Estimate:
    """ECE with a basic bootstrap interval.

    ECE is a sum of absolute values, so noise raises it, on resamples once more; the basic
    interval reflects most of that away, and is widened to hold the value. Of a nearly perfectly
    calibrated model both remain too high.
    """
    replicates = replicate_calibration_error(answers, resamples)
    n_units = len(np.unique(resamples.rows))
    return estimate_replicates(replicates, n_units, method="basic", bounds=(0.0, 1.0))
