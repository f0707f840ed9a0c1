"""Pools numbers over seeds: the mean with Student's t interval, and one further seed.

Each run gives one number, whatever the count of its quads: the seed is the unit. Its own interval
over quads only says whether that seed by itself shows a sign.

Claims about the directly debiased and the plainly trained student (f_S) are paired by seed: the
distilled student of a run minus the other student of the same run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from behavior.estimates import Estimate
from behavior.intervals import t_interval, t_prediction_interval
from circuits.compare.reading import estimate, roles
from circuits.compare.recipe.comparable import Run
from circuits.compare.storage import Json


@dataclass(frozen=True, slots=True)
class Question:
    """A number that is pooled.

    Attributes:
        name: For people.
        path: Where it stands in a result.
        sign: -1 turns it, so that a loss is positive.
        signed: Whether zero means no difference, so that each seed has a sign.
    """

    name: str
    path: tuple[str, ...]
    sign: int = 1
    signed: bool = True


QUESTIONS: dict[str, Question] = {
    "loss": Question("mean loss on C and N", ("losses", "mean")),
    "loss_N": Question("loss on N", ("losses", "N")),
    "loss_C": Question("loss on C", ("losses", "C")),
    "spurious_share_change": Question(
        "change of the spurious share", ("erosion", "spurious_share")
    ),
    "auc4_loss": Question("loss of AUC4", ("erosion", "auc4"), -1),
    "conflicting_loss": Question(
        "loss of conflicting accuracy", ("erosion", "conflicting_accuracy"), -1
    ),
    "conflicting_accuracy": Question(
        "conflicting accuracy of the student",
        ("models", "student", "behavior", "conflicting_accuracy"),
        signed=False,
    ),
    "retention": Question("retention", ("retention",), signed=False),
}
"""C1, the teacher (f_T) against the distilled student (g)."""

PAIRED = ("conflicting_accuracy", "spurious_share", "auc4", "id_accuracy")
"""Of the distilled student minus another student of the same seed."""

OTHERS = {"student_debiased": "C2", "student_plain": "plain"}
"""Students that the distilled one is paired with, and what the claim is called."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One number over seeds.

    Attributes:
        name: For people.
        mean: Over the seeds that have it, with the t interval.
        further: The same mean with the interval for one further seed.
        seeds: Of each run, with its interval over quads; null where a run lacks it.
        signed: Whether each seed has a sign.
    """

    name: str
    mean: Estimate
    further: Estimate
    seeds: tuple[Estimate, ...]
    signed: bool = True

    @property
    def signs(self) -> tuple[str, ...]:
        """Of each seed: + or -, in brackets where its own interval over quads reaches zero.

        A difference of two students has no interval over quads, so its sign has no brackets.
        """
        return tuple(_sign(each) for each in self.seeds) if self.signed else ()

    def to_json(self) -> Json:
        """As it is stored."""
        signs: Json = {"signs": list(self.signs)} if self.signed else {}
        return {
            "name": self.name,
            "mean": self.mean.to_json(),
            "further_seed": self.further.to_json(),
            "seeds": [each.to_json() for each in self.seeds],
            **signs,
        }


def pool(name: str, seeds: Sequence[Estimate], *, signed: bool = True) -> Pooled:
    """The mean over seeds that have a value."""
    values = [each.value for each in seeds if each.value is not None]
    if not values:
        null = Estimate.null(next((e.reason for e in seeds if e.reason), "") or "no seeds")
        return Pooled(name, null, null, tuple(seeds), signed)
    return Pooled(name, t_interval(values), t_prediction_interval(values), tuple(seeds), signed)


def pool_teacher(runs: Sequence[Run]) -> dict[str, Pooled]:
    """C1: every one of `QUESTIONS`."""
    return {
        key: pool(
            question.name,
            [_turned(estimate(run.result, *question.path), question.sign) for run in runs],
            signed=question.signed,
        )
        for key, question in QUESTIONS.items()
    }


def pool_students(runs: Sequence[Run]) -> dict[str, dict[str, Pooled]]:
    """C2 and its like: the distilled student minus another one, paired by seed."""
    present = set(roles(runs[0].result))
    return {
        claim: {
            name: pool(
                f"{name.replace('_', ' ')}, distilled minus {role.removeprefix('student_')}",
                [_difference(run, role, name) for run in runs],
            )
            for name in PAIRED
        }
        for role, claim in OTHERS.items()
        if role in present
    }


def _difference(run: Run, role: str, name: str) -> Estimate:
    own, other = (
        estimate(run.result, "models", each, "behavior", name) for each in ("student", role)
    )
    if own.value is None or other.value is None:
        return Estimate.null(own.reason or other.reason or "not measured")
    n = min(own.n, other.n)
    return Estimate(own.value - other.value, None, None, n, "paired by seed, not by quad")


def _turned(found: Estimate, sign: int) -> Estimate:
    if sign > 0 or found.value is None:
        return found
    if found.low is None or found.high is None:
        return Estimate(-found.value, None, None, found.n, found.reason)
    return Estimate(-found.value, -found.high, -found.low, found.n)


def _sign(found: Estimate) -> str:
    if found.value is None:
        return ""
    sign = "+" if found.value > 0 else "-" if found.value < 0 else "0"
    measured = found.low is not None and found.high is not None
    return f"({sign})" if measured and not found.excludes_zero else sign
