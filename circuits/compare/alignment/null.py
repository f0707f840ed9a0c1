"""Whether heads of two models can be matched at all: the own pair against its nulls.

1. The quads are cut into two parts. Each head of the smaller model (of both, if they have as many)
   takes the head of the other that is most like it on one part; how alike the two are is measured
   on the other part, and the other way round. Nothing is gained from noise.
2. The *match* is the mean of these similarities; the *lead* is the mean of the same less that of
   the next head.
3. The nulls answer what the same procedure finds where nothing can correspond: the student with
   untrained nets of the teacher's architecture, the teacher with untrained nets of the student's,
   and each of the two with twins of the other, models trained from other seeds, where there are
   some.
4. Heads can be matched if the own match exceeds the best of all nulls, and the own lead is at least
   `LEAST_LEAD`, and neither interval (jackknife over blocks of quads) reaches zero.

The lead is asked for because models that learn one task from the same data grow more alike than an
untrained net, and still have no head that is the other's head. Split-half stability and
permutations of heads are no nulls: both find matches between random nets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student_t

from behavior.estimates import Estimate
from circuits.compare.alignment.inputs import N_BLOCKS
from circuits.compare.alignment.similarity import ALL_BLOCKS, Blocks, HeadSimilarity

LEAST_LEAD = 0.1
_FIRST_PART: Blocks = np.arange(N_BLOCKS) < N_BLOCKS // 2


@dataclass(frozen=True, eq=False)
class PairTables:
    """Similarities of the heads of one pair, from which its match and lead follow.

    Attributes:
        whole: [head, head] on all blocks; 0 where two heads cannot be compared.
        parts: [left out, part, head, head] on the two parts between which matches are crossed,
            with all blocks (first) and without each in turn; negative infinity likewise.
    """

    whole: Float[np.ndarray, "head other"]
    parts: Float[np.ndarray, "kept part head other"]


@dataclass(frozen=True, slots=True)
class AlignmentNull:
    """The own pair against its nulls, in units of similarity, from -1 to 1.

    Attributes:
        own: Match of teacher and student.
        lead: Their lead over the next head.
        nulls: Match of each null, by name.
        excess: The own match less the largest of the nulls.
        typical: Similarity that 95 % of the nulls' heads do not reach with their best partner.
        tables: Of the own pair (`own`), and of each null.
    """

    own: Estimate
    lead: Estimate
    nulls: Mapping[str, Estimate]
    excess: Estimate
    typical: float
    tables: Mapping[str, PairTables] = field(default_factory=dict[str, PairTables], compare=False)

    @property
    def beaten(self) -> bool:
        """Whether the own match exceeds every null, by its interval."""
        return self.excess.low is not None and self.excess.low > 0

    @property
    def led(self) -> bool:
        """Whether matched heads lead the next by enough, and the interval excludes zero."""
        lead, low = self.lead.value, self.lead.low
        return lead is not None and lead >= LEAST_LEAD and low is not None and low > 0

    @property
    def holds(self) -> bool:
        """Whether heads can be matched."""
        return self.beaten and self.led

    def to_json(self) -> dict[str, object]:
        """Every number with its interval and n."""
        return {
            "own": self.own.to_json(),
            "lead": self.lead.to_json(),
            "least_lead": LEAST_LEAD,
            "nulls": {name: null.to_json() for name, null in self.nulls.items()},
            "excess": self.excess.to_json(),
            "typical": self.typical,
        }


def put_to_null(own: HeadSimilarity, nulls: Mapping[str, HeadSimilarity], n: int) -> AlignmentNull:
    """Match and lead of the own pair and of its nulls.

    Args:
        own: Teacher and student.
        nulls: By name.
        n: Number of quads.
    """
    kept = [ALL_BLOCKS, *(np.arange(N_BLOCKS) != block for block in range(N_BLOCKS))]
    tables = {name: _tables(pair, kept) for name, pair in {"own": own, **nulls}.items()}
    found = np.array([_match_and_lead(parts) for parts in tables["own"].parts])
    others = np.array([[_match_and_lead(p)[0] for p in tables[name].parts] for name in nulls])
    return AlignmentNull(
        own=_jackknife(found[:, 0], n),
        lead=_jackknife(found[:, 1], n),
        nulls={name: _jackknife(row, n) for name, row in zip(nulls, others, strict=True)},
        excess=_jackknife(found[:, 0] - others.max(axis=0), n),
        typical=float(
            np.quantile(np.concatenate([_best(tables[name].whole) for name in nulls]), 0.95)
        ),
        tables=tables,
    )


def match_and_lead(similarity: HeadSimilarity, keep: Blocks = ALL_BLOCKS) -> tuple[float, float]:
    """Mean similarity of crossed best matches, and their lead over the next head."""
    return _match_and_lead(_parts(similarity, keep))


def _tables(similarity: HeadSimilarity, kept: Sequence[Blocks]) -> PairTables:
    whole = np.where(similarity.comparable, similarity.combined(), 0)
    return PairTables(whole, np.stack([_parts(similarity, keep) for keep in kept]))


def _parts(similarity: HeadSimilarity, keep: Blocks) -> Float[np.ndarray, "part head other"]:
    parts = [similarity.combined(part & keep) for part in (_FIRST_PART, ~_FIRST_PART)]
    return np.stack([np.where(similarity.comparable, part, -np.inf) for part in parts])


def _match_and_lead(given: Float[np.ndarray, "part head other"]) -> tuple[float, float]:
    parts = list(given)
    crossed = [
        _crossed(a, b) for chooses, tests in (parts, parts[::-1]) for a, b in _sides(chooses, tests)
    ]
    matched, lead = np.mean(crossed, axis=0)
    return float(matched), float(lead)


def _sides(chooses: np.ndarray, tests: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The smaller model's heads look for partners; of models of one size, both do."""
    teacher, student = chooses.shape
    sides = [(chooses, tests)] if teacher <= student else []
    return [*sides, (chooses.T, tests.T)] if student <= teacher else sides


def _crossed(
    chooses: Float[np.ndarray, "head other"], tests: Float[np.ndarray, "head other"]
) -> tuple[float, float]:
    best, heads = chooses.argmax(axis=1), np.arange(len(chooses))
    matched = tests[heads, best]
    known = np.isfinite(matched)
    others = tests.copy()
    others[heads, best] = -np.inf
    following = np.maximum(others.max(axis=1), 0)
    return float(matched[known].mean()), float((matched - following)[known].mean())


def _best(found: Float[np.ndarray, "head other"]) -> Float[np.ndarray, " best"]:
    return np.concatenate([found.max(axis=0), found.max(axis=1)])


def _jackknife(values: Float[np.ndarray, " kept"], n: int) -> Estimate:
    """Value on all blocks (first), with a 95 % interval from leaving out each in turn."""
    value, left = float(values[0]), values[1:]
    error = np.sqrt((N_BLOCKS - 1) / N_BLOCKS * ((left - left.mean()) ** 2).sum())
    reach = float(student_t.ppf(0.975, N_BLOCKS - 1) * error)
    return Estimate.of(value, value - reach, value + reach, n)
