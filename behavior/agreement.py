"""Do two models answer alike: rate, Cohen's kappa, KL and Jensen-Shannon divergence.

    rate   share of examples to which both give the same answer
    kappa  agreement beyond that of two models with the same label frequencies; null where a model
           gives one answer throughout, as kappa is then 0, or not defined, whatever the other does
    kl     KL(teacher || student) over the task labels, in nats, 0 if and only if they are equal
    js     Jensen-Shannon divergence (not its square root), in nats, from 0 to log 2, symmetric

torchmetrics gives the value of kappa; the resamples need it under thousands of weightings.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from behavior.answers import CELL_COLUMNS, Answers, QuadAnswers
from behavior.estimates import Estimate, estimate_replicates
from behavior.examples import CELLS
from behavior.intervals import estimate_proportion
from behavior.resampling import Resamples
from behavior.statistics import estimate_means

Agreement = dict[str, dict[str, dict[str, Estimate]]]

_MISSING = {
    "all": "no examples",
    "teacher_right": "the teacher gives no right answers",
    "teacher_wrong": "the teacher gives no wrong answers",
}
_ONE_ANSWER = "one of the models gives the same answer to all of these examples"


def measure_agreement(
    teacher: QuadAnswers, student: QuadAnswers, resamples: Resamples
) -> Agreement:
    """Rate, kappa, kl and js by group (`all`, A, N, C, L), then by whether the teacher is right.

    The second level is `all`, `teacher_right`, `teacher_wrong`.
    """
    ours, theirs = teacher.answers, student.answers
    masks = _masks(ours.right)
    rows, pooled = resamples.over(teacher.units), resamples.over(teacher.pooled_units)
    divergences = _estimate_divergences(ours, theirs, masks, pooled)
    same = ours.predictions == theirs.predictions
    agreement: Agreement = {}
    for (group, split), mask in masks.items():
        measures = {
            "rate": estimate_proportion(same, rows, where=mask, missing=_MISSING[split]),
            "kappa": estimate_kappa(ours, theirs, rows, where=mask, missing=_MISSING[split]),
            **divergences[group, split],
        }
        agreement.setdefault(group, {})[split] = measures
    return agreement


def kl_divergence(
    log_p: Float[np.ndarray, "*stat n_labels"], log_q: Float[np.ndarray, "*stat n_labels"]
) -> Float[np.ndarray, "*stat"]:
    """KL(p || q) in nats, from log probabilities, so that saturated ones stay finite."""
    return np.maximum((np.exp(log_p) * (log_p - log_q)).sum(-1), 0)


def js_divergence(
    log_p: Float[np.ndarray, "*stat n_labels"], log_q: Float[np.ndarray, "*stat n_labels"]
) -> Float[np.ndarray, "*stat"]:
    """Jensen-Shannon divergence in nats, from 0 to log 2; symmetric."""
    # Ratios to the mean, not its logarithm: the same p and q must give exactly zero.
    to_p, to_q = (
        np.log(2) - np.logaddexp(0, other - own) for own, other in ((log_p, log_q), (log_q, log_p))
    )
    return np.maximum((np.exp(log_p) * to_p + np.exp(log_q) * to_q).sum(-1) / 2, 0)


def cohen_kappa(
    first: Int[np.ndarray, " answer"], second: Int[np.ndarray, " answer"], n_labels: int
) -> float:
    """Cohen's kappa by torchmetrics; NaN where both give one and the same answer throughout."""
    # Takes about two seconds to import, as it loads transformers.
    from torchmetrics.functional.classification import multiclass_cohen_kappa  # noqa: PLC0415

    return float(
        multiclass_cohen_kappa(
            torch.from_numpy(first),
            torch.from_numpy(second),
            num_classes=n_labels,
            validate_args=False,
        )
    )


def weighted_kappa(
    first: Int[np.ndarray, "row answer"],
    second: Int[np.ndarray, "row answer"],
    n_labels: int,
    resamples: Resamples,
    where: Bool[np.ndarray, "row answer"],
) -> Float[np.ndarray, " replicate"]:
    """Kappa on the data (first) and on each resample; NaN where it is not defined."""
    pairs = first * n_labels + second
    counted = (pairs[..., None] == np.arange(n_labels**2)) & where[..., None]
    totals = resamples.totals(counted.sum(1))
    weights = np.vstack([np.ones(resamples.n_units), resamples.weights])
    joint = (weights @ totals).reshape(-1, n_labels, n_labels)
    size = joint.sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.trace(joint, axis1=1, axis2=2) / size
        expected = (joint.sum(1) * joint.sum(2)).sum(1) / size**2
        kappa = (observed - expected) / (1 - expected)
    return np.where(np.isfinite(kappa), kappa, np.nan)


def estimate_kappa(
    teacher: Answers,
    student: Answers,
    resamples: Resamples,
    *,
    where: Bool[np.ndarray, "row answer"],
    missing: str = "no examples",
) -> Estimate:
    """Cohen's kappa between two models' answers, with a percentile interval over units."""
    n_units = int((resamples.totals(where.sum(1)) > 0).sum())
    first, second = teacher.predictions, student.predictions
    if n_units == 0:
        return Estimate.null(missing)
    if min(len(np.unique(first[where])), len(np.unique(second[where]))) < 2:
        return Estimate.null(_ONE_ANSWER, n_units)
    replicates = weighted_kappa(first, second, teacher.n_labels, resamples, where)
    replicates[0] = cohen_kappa(first[where], second[where], teacher.n_labels)
    return estimate_replicates(replicates, n_units)


def _masks(
    teacher_right: Bool[np.ndarray, "quad cell"],
) -> dict[tuple[str, str], Bool[np.ndarray, "quad cell"]]:
    everything = np.ones_like(teacher_right)
    columns = np.arange(len(CELLS))
    groups = {"all": everything}
    groups |= {cell: everything & (columns == CELL_COLUMNS[cell]) for cell in CELLS}
    splits = {"all": everything, "teacher_right": teacher_right, "teacher_wrong": ~teacher_right}
    return {
        (group, split): in_group & in_split
        for group, in_group in groups.items()
        for split, in_split in splits.items()
    }


def _estimate_divergences(
    teacher: Answers,
    student: Answers,
    masks: dict[tuple[str, str], Bool[np.ndarray, "quad cell"]],
    resamples: Resamples,
) -> dict[tuple[str, str], dict[str, Estimate]]:
    where = np.stack([mask.ravel() for mask in masks.values()], axis=1)
    log_p, log_q = teacher.log_probabilities, student.log_probabilities
    estimates = {
        name: estimate_means(
            np.repeat(divergence(log_p, log_q).reshape(-1, 1), where.shape[1], axis=1),
            resamples,
            where=where,
            bounds=(0.0, greatest),
        )
        for name, divergence, greatest in (
            ("kl", kl_divergence, np.inf),
            ("js", js_divergence, float(np.log(2))),
        )
    }
    return {
        (group, split): {
            name: estimates[name][i] if estimates[name][i].n else Estimate.null(_MISSING[split])
            for name in estimates
        }
        for i, (group, split) in enumerate(masks)
    }
