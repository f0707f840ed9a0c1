"""The verdict on a recipe: a small decision table over seeds.

    undecided         fewer than 3 seeds; or a seed has no loss; or none of the rules below fits
    no erosion        the t interval of the mean loss lies within +-delta, that of the loss of AUC4
                      ends below .02, and most seeds say `no erosion`, none `erosion`
    threshold shift   the t interval of the mean loss lies above delta, that of the loss of AUC4
                      ends below .02, and most seeds say `threshold shift`
    erosion           the t intervals of the mean loss and of the loss of AUC4 lie above delta and
                      above zero, and most seeds say `erosion`

Most is at least 3 of 4: all of three seeds, four of five. The rules are read from the top. A
location is only given to an erosion, and only if most of the seeds that eroded have the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from behavior.estimates import Estimate
from circuits.compare.recipe.pooling import Pooled
from circuits.compare.verdict import AUC4_LOSS, Status, Verdict
from circuits.compare.wording import interval, number

LEAST_SEEDS = 3
MOST = 0.75


@dataclass(frozen=True, slots=True)
class Seed:
    """What one run concluded.

    Attributes:
        status: On behaviour.
        location: Of an erosion, where it was asked.
        stage: From which on it is lost.
    """

    status: str
    location: str | None = None
    stage: str | None = None


def decide_recipe(seeds: Sequence[Seed], loss: Pooled, auc4_loss: Pooled, delta: float) -> Verdict:
    """The first rule that fits.

    Args:
        seeds: What each run concluded.
        loss: Mean loss on C and N.
        auc4_loss: AUC4 of the teacher minus AUC4 of the student.
        delta: Loss below which two models count as equal.
    """
    n = len(seeds)
    counts = Counter(seed.status for seed in seeds)
    tallied = tally(counts, n)
    if n < LEAST_SEEDS:
        said = f"Undecided: {n} of the {LEAST_SEEDS} seeds that a claim about a recipe needs."
        return Verdict("undecided", None, None, (said, tallied))
    if loss.mean.n < n or auc4_loss.mean.n < n:
        said = f"Undecided: only {min(loss.mean.n, auc4_loss.mean.n)} of {n} seeds have a loss."
        return Verdict("undecided", None, None, (said, tallied))
    status = _status(counts, n, loss.mean, auc4_loss.mean, delta)
    location, stage, placed = _place(seeds) if status == "erosion" else (None, None, "")
    sentences = (
        _conclusion(status, loss.mean, delta, n),
        tallied,
        f"Loss of AUC4: {interval(auc4_loss.mean, 3)}.",
        _further(loss.further, delta),
        placed,
    )
    return Verdict(status, location, stage, tuple(line for line in sentences if line))


def tally(counts: Mapping[str, int], n: int) -> str:
    """How many seeds say what."""
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"By itself each of the {n} seeds says: {said}."


def _status(counts: Counter[str], n: int, loss: Estimate, auc4: Estimate, delta: float) -> Status:
    low, high = _ends(loss)
    auc4_low, auc4_high = _ends(auc4)
    within = -delta < low and high < delta
    if within and auc4_high < AUC4_LOSS and _most(counts["no erosion"], n):
        return "no erosion" if not counts["erosion"] else "undecided"
    if low > delta and auc4_high < AUC4_LOSS and _most(counts["threshold shift"], n):
        return "threshold shift"
    if low > delta and auc4_low > 0 and _most(counts["erosion"], n):
        return "erosion"
    return "undecided"


def _conclusion(status: Status, loss: Estimate, delta: float, n: int) -> str:
    lost = f"{interval(loss)[:-1]}; t interval over {n} seeds)"
    match status:
        case "erosion":
            return (
                "Erosion in the recipe: where the shortcut misleads or is missing, its students "
                f"lose on average {lost} of their teacher's probability of the right answer."
            )
        case "no erosion":
            return (
                "No erosion in the recipe: where the shortcut misleads or is missing, its students "
                f"are as good as their teacher to within {delta:.2f}; mean loss {lost}."
            )
        case "threshold shift":
            return (
                "Threshold shift in the recipe: its students decide worse where the shortcut "
                f"misleads or is missing, but rank as well as their teacher; mean loss {lost}."
            )
        case _:
            return (
                f"Undecided: the mean loss over seeds is {lost}; this and what the seeds say fit "
                f"no rule together (delta {delta:.2f}, and 3 of 4 seeds have to agree)."
            )


def _further(found: Estimate, delta: float) -> str:
    low, high = _ends(found)
    beyond = "also beyond" if low > delta else "not surely beyond"
    if -delta < low and high < delta:
        beyond = "also within"
    return (
        f"One further seed would lose between {number(low)} and {number(high)} (95 % prediction "
        f"interval), {beyond} {delta:.2f}."
    )


def _place(seeds: Sequence[Seed]) -> tuple[str | None, str | None, str]:
    eroded = [seed for seed in seeds if seed.status == "erosion"]
    places = Counter(seed.location or "not measured" for seed in eroded)
    said = ", ".join(f"{name} in {count}" for name, count in places.most_common())
    sentence = f"Where, in the {len(eroded)} seeds that eroded: {said}."
    name, count = places.most_common(1)[0]
    if name == "not measured" or not _most(count, len(eroded)):
        return None, None, sentence
    stages = Counter(seed.stage for seed in eroded if seed.location == name and seed.stage)
    if stages:
        listed = ", ".join(f"{stage} in {n}" for stage, n in stages.most_common())
        sentence = f"{sentence[:-1]}; from stage {listed}."
    stage, n = stages.most_common(1)[0] if stages else (None, 0)
    return name, stage if _most(n, len(eroded)) else None, sentence


def _most(count: int, n: int) -> bool:
    return count >= MOST * n


def _ends(found: Estimate) -> tuple[float, float]:
    missing = float("nan")
    return (
        missing if found.low is None else found.low,
        missing if found.high is None else found.high,
    )
