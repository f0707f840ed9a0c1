"""What interventions on teacher and student work with: models, answers, effects, two halves.

Quads are halved; one half chooses, the other tests, at most `MOST_QUADS` of each where a model is
run again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, cast

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.examples import Contrast, Quad
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from behavior.resampling import split_units
from circuits.compare.asking import RoleAnswers
from circuits.compare.causal.head_sets import HeadSets
from circuits.compare.components import RoleEffects
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.running.steps import Steps
from circuits.compare.twins import Twins, twin_models
from patching import Effects, PatchableModel

MOST_QUADS = 100

PartT = TypeVar("PartT")


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything that interventions need of a comparison.

    Attributes:
        models: By role.
        readouts: By role.
        evidence: Quads and their pairs.
        given: Answers by role.
        components: Effects of the nodes of teacher and student.
        config: What was asked for.
        progress: Told about stages and steps.
        steps: Where results of expensive steps are kept.
        twins: Models from other seeds.
        twin_answers: Theirs, by name.
    """

    models: Mapping[Role, PatchableModel]
    readouts: Mapping[Role, Readout]
    evidence: Evidence
    given: Mapping[Role, RoleAnswers]
    components: RoleEffects
    config: ComparisonConfig
    progress: Progress
    steps: Steps
    twins: Twins
    twin_answers: Mapping[str, RoleAnswers]

    @cached_property
    def answers(self) -> dict[Role, QuadAnswers]:
        """To the quads, of teacher and student."""
        return {role: cast(QuadAnswers, self.given[role].quads) for role in PAIR}

    @cached_property
    def effects(self) -> dict[Role, dict[Contrast, Effects]]:
        """Of heads, MLPs and rows, of teacher and student."""
        return {
            role: {contrast: found.nodes for contrast, found in self.components[role].items()}
            for role in PAIR
        }

    @cached_property
    def template_of(self) -> dict[str, str]:
        """Template of each quad, by its id."""
        return {quad.id: quad.template for quad in self.evidence.quads}

    @cached_property
    def halves(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the quads that choose, and of those that test."""
        return split_units(
            list(self.template_of), list(self.template_of.values()), self.config.seed
        )

    @cached_property
    def choosing(self) -> tuple[Quad[Input], ...]:
        """Quads that choose, where a model is run again."""
        return self._quads(self.halves[0])

    @cached_property
    def testing(self) -> tuple[Quad[Input], ...]:
        """Quads that test, where a model is run again."""
        return self._quads(self.halves[1])

    def step(self, name: str, compute: Callable[[], PartT], *, with_twins: bool = False) -> PartT:
        """A step whose result is kept; `with_twins` if it depends on them."""
        donors: tuple[Role, ...] = (*PAIR, "teacher_plain")
        involved: dict[str, object] = {r: self.models[r] for r in donors if r in self.models}
        involved |= twin_models(self.twins) if with_twins else {}
        depends: dict[str, object] = {
            **{name.replace("_", " "): model for name, model in involved.items()},
            "readout": [self.readouts[role] for role in PAIR],
            "data": (self.evidence.quads, self.evidence.pairs),
            "answers": self.answers,
            "effects": self.effects,
            "seed": self.config.seed,
            "number of resamples": self.config.n_resamples,
            "batch size": self.config.batch_size,
        }
        return self.steps.run(name, depends, compute)

    def heads(self, role: Role) -> dict[Contrast, Effects]:
        """Effects of the heads alone."""
        names = self.models[role].spec.heads
        return {contrast: _only(found, names) for contrast, found in self.effects[role].items()}

    def sets(self, role: Role, quads: tuple[Quad[Input], ...]) -> HeadSets:
        """Runs a model on quads with sets of heads ablated."""
        return HeadSets(self.models[role], self.readouts[role], quads, self.config.batch_size)

    def means(self, role: Role, contrast: Contrast) -> dict[str, float]:
        """Mean effect of each head on the quads that choose, in logits."""
        found = self.effects[role][contrast]
        chosen = set(self.halves[0])
        rows = [i for i, unit in enumerate(found.units) if unit in chosen]
        means = found.values[rows].double().mean(dim=0).tolist()
        heads = set(self.models[role].spec.heads)
        return {node: m for node, m in zip(found.nodes, means, strict=True) if node in heads}

    def strongest(self, role: Role, contrast: Contrast, n: int) -> list[str]:
        """Heads with the largest mean effect on the quads that choose."""
        means = self.means(role, contrast)
        return sorted(means, key=lambda head: -means[head])[:n]

    def _quads(self, half: tuple[str, ...]) -> tuple[Quad[Input], ...]:
        wanted = set(half)
        return tuple(q for q in self.evidence.quads if q.id in wanted)[:MOST_QUADS]


def total_ranges(answers: QuadAnswers) -> dict[str, float]:
    """Margin of A minus that of L of each quad, in logits."""
    ranges = answers.margins[:, CELL_COLUMNS["A"]] - answers.margins[:, CELL_COLUMNS["L"]]
    return dict(zip(answers.units, ranges.tolist(), strict=True))


def _only(effects: Effects, names: tuple[str, ...]) -> Effects:
    columns = [effects.nodes.index(name) for name in names]
    return replace(effects, values=effects.values[:, columns], nodes=names)
