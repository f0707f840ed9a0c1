"""Seed twins: models of one recipe from other seeds, which show what a seed alone changes.

A twin has the architecture of the model that it is a twin of, and other weights. Twins serve as

1. a null of head alignment: the pair has to match better than with another seed's model;
2. delta of the verdict on behavior: the largest difference between the teacher and its twins, at
   least `LEAST_DELTA`. A student's twins share its faults, so their spread is told and is no null;
3. rows of the stage profile, under names of their own;
4. a margin of the diff of nodes, where a twin's stream is that of its model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from behavior.answers import QuadAnswers
from behavior.erosion import measure_losses
from behavior.errors import CheckpointError
from behavior.estimates import Estimate
from behavior.readout import Readout
from behavior.resampling import Resamples
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.roles import Models, Opened, RoleEntry, open_entry, resolve_reference
from circuits.compare.storage import Json
from circuits.compare.wording import sized
from patching import PatchableModel

LEAST_DELTA = 0.02
"""Smaller losses do not matter, however alike two seeds are."""

NO_TWINS = "no twin was given"
NO_QUADS = "the data hold no quads"


@dataclass(frozen=True, eq=False)
class Twin:
    """One model beside the pair.

    Attributes:
        name: In the result, such as `teacher_twin_1`.
        of: The role whose twin it is.
        entry: What it was called by.
        model: Opened.
        readout: The task's labels among its classes.
    """

    name: str
    of: Role
    entry: RoleEntry
    model: PatchableModel
    readout: Readout


Twins = tuple[Twin, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """How large a loss has to be.

    Attributes:
        claimed: A loss has to exceed this by its interval to be called one.
        equal: Two models count as equal within this.
        spread: Largest difference between two seeds, in probability of the truth on C and N, by
            role; null without twins.
    """

    claimed: float
    equal: float
    spread: Mapping[Role, Estimate]

    @property
    def sentence(self) -> str:
        """Where delta comes from, for the verdict; empty if it is the one that was set."""
        found = self.spread["teacher"]
        if found.value is None:
            return ""
        least = (
            f", and {LEAST_DELTA} is the least that counts" if self.claimed > found.value else ""
        )
        return (
            f"Between the teacher and its seed twins the same losses differ by up to {sized(found)}"
            f"{least}: a loss has to exceed {self.claimed:.2f}."
        )


def resolve_twins(config: ComparisonConfig) -> tuple[tuple[Role, RoleEntry], ...]:
    """What the twins' names stand for, those of the teacher first.

    Raises:
        CheckpointError: If a name stands for no model.
    """
    return tuple(
        (role, resolve_reference(reference, config))
        for role in PAIR
        for reference in config.twins(role)
    )


def load_twins(
    entries: Sequence[tuple[Role, RoleEntry]],
    models: Models,
    readouts: Mapping[Role, Readout],
    config: ComparisonConfig,
    opened: Opened,
) -> Twins:
    """Open every twin.

    Args:
        entries: By `resolve_twins`.
        models: Teacher and student among them.
        readouts: Theirs; a twin has the same classes.
        config: Of the comparison.
        opened: Models that are open already.

    Raises:
        CheckpointError: If a twin cannot be opened, has another architecture than its model, or
            the same weights as another one.
    """
    found: list[Twin] = []
    for role, entry in entries:
        model = open_entry(entry, config, opened)
        number = sum(twin.of == role for twin in found) + 1
        _refuse_other(role, entry, model, models[role])
        twin = Twin(f"{role}_twin_{number}", role, entry, model, readouts[role])
        _refuse_same(twin, {**{f"the {r}": models[r] for r in PAIR}, **_by_reference(found)})
        found.append(twin)
    return tuple(found)


def of_role(twins: Twins, role: Role) -> Twins:
    """The twins of one model."""
    return tuple(twin for twin in twins if twin.of == role)


def twin_models(twins: Twins) -> dict[str, PatchableModel]:
    """Models by the names of the result."""
    return {twin.name: twin.model for twin in twins}


def seed_answers(
    own: Mapping[Role, QuadAnswers | None],
    twins: Twins,
    answers: Mapping[str, QuadAnswers | None],
) -> dict[Role, list[QuadAnswers | None]]:
    """Answers of teacher and student, each followed by those of its twins."""
    return {role: [own[role], *(answers[t.name] for t in of_role(twins, role))] for role in PAIR}


def choose_delta(
    seeds: Mapping[Role, Sequence[QuadAnswers | None]], resamples: Resamples | None, delta: float
) -> Delta:
    """How large a loss has to be, from what seeds show or else as it was set.

    Claims of a loss have to exceed what seeds of the teacher's recipe show. Claims that two models
    are equal may not be weaker than those without twins.

    Args:
        seeds: By `seed_answers`.
        resamples: Of the quads; None without quads.
        delta: What was set.
    """
    spread: dict[Role, Estimate] = {
        role: seed_spread(answers, resamples) for role, answers in seeds.items()
    }
    value = spread["teacher"].value
    if value is None:
        return Delta(delta, delta, spread)
    claimed = max(value, LEAST_DELTA)
    return Delta(claimed, min(claimed, delta), spread)


def seed_spread(models: Sequence[QuadAnswers | None], resamples: Resamples | None) -> Estimate:
    """Largest difference between two of these models in probability of the truth on C and N."""
    known = [each for each in models if each is not None]
    if resamples is None or len(known) < len(models):
        return Estimate.null(NO_QUADS)
    pairs = [measure_losses(a, b, resamples)["mean"] for a, b in combinations(known, 2)]
    if not pairs:
        return Estimate.null(NO_TWINS, len(known[0]) if known else 0)
    largest = max(pairs, key=lambda found: abs(found.value or 0.0))
    if largest.value is None or largest.value >= 0 or largest.low is None or largest.high is None:
        return largest
    return replace(largest, value=-largest.value, low=-largest.high, high=-largest.low)


def describe_twins(twins: Twins, delta: Delta) -> dict[str, Json]:
    """`twins` of the result: who they are, and what they were used for; empty without twins."""
    if not twins:
        return {}
    return {
        "twins": {
            "models": [
                {
                    "model": twin.name,
                    "of": twin.of,
                    "checkpoint": twin.entry.checkpoint.name,
                    "digest": twin.model.digest,
                    "family": twin.model.spec.family,
                }
                for twin in twins
            ],
            "spread": {role: found.to_json() for role, found in delta.spread.items()},
            "delta": delta.claimed,
            "equal_within": delta.equal,
        }
    }


def _by_reference(twins: Sequence[Twin]) -> dict[str, PatchableModel]:
    return {f"the twin {twin.entry.reference!r}": twin.model for twin in twins}


def _refuse_other(role: Role, entry: RoleEntry, model: PatchableModel, own: PatchableModel) -> None:
    if model.spec == own.spec:
        return
    raise CheckpointError(
        f"{entry.reference!r} is no twin of the {role} {own.name!r}: it has another architecture "
        f"or other classes ({_size(model)}; the {role} has {_size(own)}). Give models of the same "
        "recipe from other seeds."
    )


def _refuse_same(twin: Twin, others: Mapping[str, PatchableModel]) -> None:
    for name, other in others.items():
        if other is twin.model or other.digest == twin.model.digest:
            raise CheckpointError(
                f"The {twin.of} twin {twin.entry.reference!r} has the weights of {name}. A twin "
                "comes from another seed; give another checkpoint."
            )


def _size(model: PatchableModel) -> str:
    spec = model.spec
    return f"{spec.family}, {spec.n_layers} layers of {spec.d_model}, {', '.join(spec.classes)}"
