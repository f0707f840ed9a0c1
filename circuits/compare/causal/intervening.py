"""Intervenes on teacher and student: alignment, diff, origins and causal tests.

1. Quads are halved; one half chooses, the other tests, at most `MOST_QUADS` of each where a model
   is run again.
2. Heads are matched if the pair passes its null; matched nodes are compared on the half that tests.
3. Where the streams share a basis, each node of the student is given its counterpart's inputs, and
   counterparts' outputs are put into the student.
4. Sets of the student's heads are taken away, and the teacher's core heads from the teacher.

What needs a loss (removal, transplant) is left out where there is none, with that reason.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, cast

from behavior.answers import CELL_COLUMNS, QuadAnswers
from behavior.examples import CELLS, Contrast, Quad
from behavior.inputs import Input
from behavior.readout import Readout
from behavior.resampling import split_units
from circuits.compare.alignment.align import Alignment, align_heads
from circuits.compare.asking import RoleAnswers
from circuits.compare.causal.basis import StreamBasis, stream_basis
from circuits.compare.causal.head_sets import HeadSets
from circuits.compare.causal.necessity import Necessity, measure_necessity
from circuits.compare.causal.origin import Origin, node_distances, origin_of, same_place
from circuits.compare.causal.removal import CANDIDATES, Removal, measure_removal
from circuits.compare.causal.restoring import share_restored
from circuits.compare.causal.result import Interventions
from circuits.compare.causal.transplant import NodeTransplant, Transplanter
from circuits.compare.changes import NodeChange, NodeGroup, node_groups, origins_added
from circuits.compare.components import RoleEffects
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.diff import ModelEffects, diff_nodes
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS
from circuits.compare.running.progress import Progress
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.untrained import untrained_like
from patching import Effects, PatchableModel

MOST_QUADS = 100
FEWEST_QUADS = 40
MOST_TRANSPLANTS = 16
LEFT_OUT = "interventions were left out"
TOO_FEW = f"fewer than {FEWEST_QUADS} quads cannot be halved for interventions"

Models = Mapping[Role, PatchableModel]
PartT = TypeVar("PartT")


def intervene(
    models: Models,
    readouts: Mapping[Role, Readout],
    evidence: Evidence,
    answers: Mapping[Role, RoleAnswers],
    effects: RoleEffects,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> Interventions:
    """Every intervention that the data and the models allow."""
    if not config.interventions:
        return Interventions(LEFT_OUT)
    if not evidence.quads:
        return Interventions(NO_QUADS)
    if len({quad.id for quad in evidence.quads}) < FEWEST_QUADS:
        return Interventions(TOO_FEW)
    return _Bench(models, readouts, evidence, answers, effects, config, progress, steps).run()


@dataclass(frozen=True, eq=False)
class _Bench:
    models: Models
    readouts: Mapping[Role, Readout]
    evidence: Evidence
    given: Mapping[Role, RoleAnswers]
    components: RoleEffects
    config: ComparisonConfig
    progress: Progress
    steps: Steps

    @cached_property
    def answers(self) -> dict[Role, QuadAnswers]:
        return {role: cast(QuadAnswers, self.given[role].quads) for role in PAIR}

    @cached_property
    def effects(self) -> dict[Role, dict[Contrast, Effects]]:
        return {
            role: {contrast: found.nodes for contrast, found in self.components[role].items()}
            for role in PAIR
        }

    @cached_property
    def template_of(self) -> dict[str, str]:
        return {quad.id: quad.template for quad in self.evidence.quads}

    @cached_property
    def halves(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the quads that choose, and of those that test."""
        return split_units(
            list(self.template_of), list(self.template_of.values()), self.config.seed
        )

    @cached_property
    def choosing(self) -> tuple[Quad[Input], ...]:
        return self._quads(self.halves[0])

    @cached_property
    def testing(self) -> tuple[Quad[Input], ...]:
        return self._quads(self.halves[1])

    def run(self) -> Interventions:
        teacher, student = (self.models[role] for role in PAIR)
        alignment = self._step("matching heads", self._align)
        inputs = [quad.cell(cell) for quad in self.choosing for cell in CELLS]
        self.progress.stage("compare nodes")
        basis = stream_basis(teacher, student, inputs)
        counterparts = self._counterparts(alignment, basis)
        distances = (
            node_distances(teacher, student, basis, counterparts, inputs) if basis.shared else {}
        )
        changes = self._changes(alignment, basis)
        origins: dict[str, Origin] = {n: origin_of(far) for n, far in distances.items()}
        restored = self._step(
            "interventions on the student", lambda: self._restore(counterparts, distances)
        )
        removal, transplants, no_loss = restored
        return Interventions(
            alignment=alignment,
            basis=basis,
            changes=tuple(origins_added(changes, origins)),
            distances=distances,
            removal=removal,
            necessity=self._step("interventions on the teacher", self._necessity),
            transplants=transplants,
            no_loss=no_loss,
            chosen_on=self.halves[0],
            tested_on=self.halves[1],
        )

    def _step(self, name: str, compute: Callable[[], PartT]) -> PartT:
        donors: tuple[Role, ...] = (*PAIR, "teacher_plain")
        involved: list[Role] = [role for role in donors if role in self.models]
        depends: dict[str, object] = {
            **{role.replace("_", " "): self.models[role] for role in involved},
            "readout": [self.readouts[role] for role in PAIR],
            "data": (self.evidence.quads, self.evidence.pairs),
            "answers": self.answers,
            "effects": self.effects,
            "seed": self.config.seed,
            "number of resamples": self.config.n_resamples,
            "batch size": self.config.batch_size,
        }
        return self.steps.run(name, depends, compute)

    def _align(self) -> Alignment:
        self.progress.stage("match heads")
        return align_heads(
            self.models["teacher"],
            self.models["student"],
            self.evidence.pairs,
            effects=(self._heads("teacher"), self._heads("student")),
            seed=self.config.seed,
            readouts=(self.readouts["teacher"], self.readouts["student"]),
        )

    def _quads(self, half: tuple[str, ...]) -> tuple[Quad[Input], ...]:
        wanted = set(half)
        return tuple(q for q in self.evidence.quads if q.id in wanted)[:MOST_QUADS]

    def _heads(self, role: Role) -> dict[Contrast, Effects]:
        names = self.models[role].spec.heads
        return {contrast: _only(found, names) for contrast, found in self.effects[role].items()}

    def _counterparts(self, alignment: Alignment, basis: StreamBasis) -> dict[str, str]:
        if not basis.shared:
            return {}
        found = same_place(self.models["student"], self.models["teacher"], basis)
        matched = {link.student: link.teacher for link in alignment.links}
        return {node: matched.get(node, other) for node, other in found.items()}

    def _changes(self, alignment: Alignment, basis: StreamBasis) -> list[NodeChange]:
        groups = node_groups(alignment)
        if alignment.level == "heads" and basis.shared:
            places = same_place(self.models["student"], self.models["teacher"], basis)
            mlps = self.models["student"].spec.mlps
            groups += [NodeGroup((places[mlp],), (mlp,)) for mlp in mlps if mlp in places]
        if not groups:
            return []
        sides = [ModelEffects(self.effects[role], self._ranges(role)) for role in PAIR]
        return diff_nodes(
            sides[0],
            sides[1],
            groups,
            self.halves[1],
            self.template_of,
            n_resamples=self.config.n_resamples,
            seed=self.config.seed,
        )

    def _ranges(self, role: Role) -> dict[str, float]:
        given = self.answers[role]
        ranges = given.margins[:, CELL_COLUMNS["A"]] - given.margins[:, CELL_COLUMNS["L"]]
        return dict(zip(given.units, ranges.tolist(), strict=True))

    def _restore(
        self, counterparts: Mapping[str, str], distances: Mapping[str, float]
    ) -> tuple[Removal | None, tuple[NodeTransplant, ...], str]:
        units = tuple(quad.id for quad in self.testing)
        teacher, student = (self.answers[role].take(units) for role in PAIR)
        whole = share_restored(teacher, student, student, self.config.n_resamples, self.config.seed)
        if whole.restored.value is None:
            return None, (), str(whole.restored.reason)
        self.progress.stage("take heads away: student")
        removal = measure_removal(
            self._sets("student", self.choosing),
            self._sets("student", self.testing),
            teacher,
            among=self._strongest("student", "shortcut", CANDIDATES),
            n_resamples=self.config.n_resamples,
            seed=self.config.seed,
            progress=self.progress.step,
        )
        return removal, self._transplant(counterparts, distances, teacher), ""

    def _transplant(
        self, counterparts: Mapping[str, str], distances: Mapping[str, float], teacher: QuadAnswers
    ) -> tuple[NodeTransplant, ...]:
        if not counterparts:
            return ()
        self.progress.stage("transplant nodes")
        model = self.models["teacher"]
        donors = {"teacher": model}
        plain = self.models.get("teacher_plain")
        if plain is not None and plain.spec == model.spec:
            donors["plain teacher"] = plain
        donors["untrained"] = untrained_like(model, self.config.seed)
        order = sorted(counterparts, key=lambda node: -distances[node])[:MOST_TRANSPLANTS]
        transplanter = Transplanter(
            self.models["student"], self.readouts["student"], donors, self.choosing, self.testing
        )
        return tuple(
            transplanter.run(
                {node: counterparts[node] for node in order},
                teacher,
                n_resamples=self.config.n_resamples,
                seed=self.config.seed,
                progress=self.progress.step,
            )
        )

    def _necessity(self) -> Necessity | None:
        if "core" not in self.effects["teacher"]:
            return None
        self.progress.stage("take heads away: teacher")
        return measure_necessity(
            self._sets("teacher", self.testing),
            self._means("teacher", "core"),
            n_resamples=self.config.n_resamples,
            seed=self.config.seed,
            progress=self.progress.step,
        )

    def _sets(self, role: Role, quads: tuple[Quad[Input], ...]) -> HeadSets:
        return HeadSets(self.models[role], self.readouts[role], quads, self.config.batch_size)

    def _means(self, role: Role, contrast: Contrast) -> dict[str, float]:
        """Mean effect of each head on the quads that choose."""
        found = self.effects[role][contrast]
        chosen = set(self.halves[0])
        rows = [i for i, unit in enumerate(found.units) if unit in chosen]
        means = found.values[rows].double().mean(dim=0).tolist()
        heads = set(self.models[role].spec.heads)
        return {node: m for node, m in zip(found.nodes, means, strict=True) if node in heads}

    def _strongest(self, role: Role, contrast: Contrast, n: int) -> list[str]:
        means = self._means(role, contrast)
        return sorted(means, key=lambda head: -means[head])[:n]


def _only(effects: Effects, names: tuple[str, ...]) -> Effects:
    columns = [effects.nodes.index(name) for name in names]
    return replace(effects, values=effects.values[:, columns], nodes=names)
