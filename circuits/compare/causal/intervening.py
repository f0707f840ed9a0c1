"""Intervenes on teacher and student: alignment, diff, origins and causal tests.

1. Quads are halved; one half chooses, the other tests (`bench`).
2. Heads are matched if the pair passes its null; matched nodes are compared on the half that tests
   (`matched`).
3. Where the streams share a basis, each node of the student is given its counterpart's inputs, and
   counterparts' outputs are put into the student.
4. Sets of the student's heads are taken away, and the teacher's core heads from the teacher
   (`treating`).

What needs a loss (removal, transplant) is left out where there is none, with that reason.
"""

from collections.abc import Mapping

from behavior.examples import CELLS
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from circuits.compare.alignment.align import Alignment, align_heads
from circuits.compare.asking import RoleAnswers
from circuits.compare.causal.basis import StreamBasis, stream_basis
from circuits.compare.causal.bench import Bench
from circuits.compare.causal.matched import compare_nodes, counterparts
from circuits.compare.causal.origin import Deviations, Origin, node_deviations, origin_of
from circuits.compare.causal.result import Interventions
from circuits.compare.causal.treating import restore, without_core_heads
from circuits.compare.changes import origins_added
from circuits.compare.components import RoleEffects
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import NO_QUADS
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.twins import Twins, of_role
from patching import PatchableModel

FEWEST_QUADS = 40
LEFT_OUT = "interventions were left out"
TOO_FEW = f"fewer than {FEWEST_QUADS} quads cannot be halved for interventions"

Models = Mapping[Role, PatchableModel]
Seeds = tuple[Twins, Mapping[str, RoleAnswers]]
"""Twins, and their answers by name."""


def intervene(
    models: Models,
    readouts: Mapping[Role, Readout],
    evidence: Evidence,
    answers: Mapping[Role, RoleAnswers],
    effects: RoleEffects,
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
    seeds: Seeds | None = None,
) -> Interventions:
    """Every intervention that the data and the models allow."""
    if not config.interventions:
        return Interventions(LEFT_OUT)
    if not evidence.quads:
        return Interventions(NO_QUADS)
    if len({quad.id for quad in evidence.quads}) < FEWEST_QUADS:
        return Interventions(TOO_FEW)
    twins, others = seeds or ((), {})
    bench = Bench(
        models, readouts, evidence, answers, effects, config, progress, steps, twins, others
    )
    return _run(bench)


def _run(bench: Bench) -> Interventions:
    teacher, student = (bench.models[role] for role in PAIR)
    alignment = bench.step("matching heads", lambda: _align(bench), with_twins=True)
    inputs = [quad.cell(cell) for quad in bench.choosing for cell in CELLS]
    bench.progress.stage("compare nodes")
    basis = stream_basis(teacher, student, inputs)
    places = counterparts(bench, alignment, basis)
    deviations = _deviations(bench, basis, places, inputs)
    distances = {} if deviations is None else deviations.distances()
    matched = compare_nodes(bench, alignment, basis)
    origins: dict[str, Origin] = {node: origin_of(far) for node, far in distances.items()}
    removal, transplants, no_loss = bench.step(
        "interventions on the student", lambda: restore(bench, places, distances)
    )
    return Interventions(
        alignment=alignment,
        basis=basis,
        changes=tuple(origins_added(matched.changes, origins)),
        diff_twins=matched.twins,
        deviations=deviations,
        removal=removal,
        necessity=bench.step("interventions on the teacher", lambda: without_core_heads(bench)),
        transplants=transplants,
        no_loss=no_loss,
        chosen_on=bench.halves[0],
        tested_on=bench.halves[1],
        run_on=tuple(quad.id for quad in bench.testing),
    )


def _align(bench: Bench) -> Alignment:
    bench.progress.stage("match heads")
    return align_heads(
        bench.models["teacher"],
        bench.models["student"],
        bench.evidence.pairs,
        effects=(bench.heads("teacher"), bench.heads("student")),
        twins=[twin.model for twin in of_role(bench.twins, "teacher")],
        student_twins=[twin.model for twin in of_role(bench.twins, "student")],
        seed=bench.config.seed,
        readouts=(bench.readouts["teacher"], bench.readouts["student"]),
    )


def _deviations(
    bench: Bench, basis: StreamBasis, places: Mapping[str, str], inputs: list[Input]
) -> Deviations | None:
    if not basis.shared:
        return None
    teacher, student = (bench.models[role] for role in PAIR)
    return node_deviations(teacher, student, basis, places, inputs)
