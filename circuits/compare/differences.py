"""Student against teacher on quads: differences, and the verdict that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from behavior.agreement import estimate_kappa
from behavior.answers import example_answers
from behavior.erosion import AnswerComparison, compare_answers, retention
from behavior.estimates import Estimate
from behavior.intervals import estimate_proportion
from behavior.threshold import ThresholdRefit, threshold_refit
from circuits.compare.asking import RoleAnswers
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.measuring import Draws, RoleMeasures
from circuits.compare.twins import Delta
from circuits.compare.verdict import BehaviorEvidence, Verdict, decide, undecided
from circuits.compare.wording import GONE

NO_PLAIN = "no plain teacher was given"
NO_QUADS = (
    "Undecided: the data hold no quads, so a loss on conflicting examples cannot be told from "
    "other differences."
)


@dataclass(frozen=True, slots=True)
class Differences:
    """Student against teacher on quads.

    Attributes:
        answers: Agreement, losses and erosion.
        threshold: The refit of the student's threshold.
        retention: Share of the debiasing that was kept.
    """

    answers: AnswerComparison
    threshold: ThresholdRefit
    retention: Estimate


def compare_roles(
    answers: Mapping[Role, RoleAnswers], draws: Draws, config: ComparisonConfig
) -> Differences | None:
    """All differences on quads; None without quads."""
    teacher, student = answers["teacher"].quads, answers["student"].quads
    if teacher is None or student is None or draws.units is None:
        return None
    plain = answers["teacher_plain"].quads if "teacher_plain" in answers else None
    kept = (
        Estimate.null(NO_PLAIN, len(teacher))
        if plain is None
        else retention(plain, teacher, student, draws.units)
    )
    refit = threshold_refit(teacher, student, config.seed, config.n_resamples)
    return Differences(compare_answers(teacher, student, draws.units), refit, kept)


def example_agreement(
    answers: Mapping[Role, RoleAnswers], draws: Draws
) -> dict[str, dict[str, Estimate]]:
    """Agreement on labelled examples, for data without quads; empty without examples.

    Rate and kappa on all of them, and the rate where the teacher is right and where it is wrong.
    """
    logits = [answers[role].examples for role in PAIR]
    if logits[0] is None or logits[1] is None or draws.examples is None:
        return {}
    teacher, student = (
        example_answers(given, answers["teacher"].truth) for given in logits if given is not None
    )
    same = teacher.predictions == student.predictions
    everywhere = np.ones_like(same)
    return {
        "all": {
            "rate": estimate_proportion(same, draws.examples),
            "kappa": estimate_kappa(teacher, student, draws.examples, where=everywhere),
        },
        "teacher_right": {"rate": estimate_proportion(same, draws.examples, where=teacher.right)},
        "teacher_wrong": {"rate": estimate_proportion(same, draws.examples, where=~teacher.right)},
    }


def judge(
    measures: Mapping[Role, RoleMeasures],
    differences: Differences | None,
    delta: Delta,
    modality: str = "text",
) -> Verdict:
    """The verdict on behavior; the modality of the inputs decides only words."""
    if differences is None:
        return undecided(NO_QUADS)
    teacher, student = measures["teacher"].behavior, measures["student"].behavior
    losses, erosion = differences.answers["losses"], differences.answers["erosion"]
    verdict = decide(
        BehaviorEvidence(
            teacher_aligned=teacher["aligned_accuracy"],
            teacher_conflicting=teacher["conflicting_accuracy"],
            student_range=student["total_range"],
            student_auc4=student["auc4"],
            loss_C=losses["C"],
            loss_N=losses["N"],
            loss=losses["mean"],
            auc4_loss=_negated(erosion["auc4"]),
            regained=differences.threshold["regained"],
            delta=delta.claimed,
            equal=delta.equal,
            gone=GONE[modality],
        )
    )
    said = [delta.sentence] if delta.sentence else []
    return replace(verdict, sentences=(*verdict.sentences, *said))


def _negated(estimate: Estimate) -> Estimate:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(-estimate.value, -estimate.high, -estimate.low, estimate.n)
