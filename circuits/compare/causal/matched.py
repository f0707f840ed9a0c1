"""What became of the nodes that belong together, on the half that tests.

Heads come in the groups of the alignment; MLPs, where the streams share a basis, with the one at
their place. Seed twins set a margin for each node (`circuits.compare.diff`) where the same place
of a twin's stream means the same, which its basis tells; from other initial weights it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from behavior.examples import CELLS, Contrast, Pairs
from behavior.inputs import Input
from circuits.compare.alignment.result import Alignment
from circuits.compare.causal.basis import StreamBasis, stream_basis
from circuits.compare.causal.bench import Bench, total_ranges
from circuits.compare.causal.origin import same_place
from circuits.compare.changes import NodeChange, NodeGroup, node_groups
from circuits.compare.components import pair_dependencies
from circuits.compare.config import PAIR, Role
from circuits.compare.diff import ModelEffects, diff_nodes
from circuits.compare.twins import Twin
from patching import Effects, patch_nodes


@dataclass(frozen=True, eq=False)
class MatchedNodes:
    """The diff of two models.

    Attributes:
        changes: Of each group of nodes under each contrast.
        twins: By name of each twin, why it sets no margins; empty if it does.
    """

    changes: tuple[NodeChange, ...] = ()
    twins: Mapping[str, str] = field(default_factory=dict[str, str])


def counterparts(bench: Bench, alignment: Alignment, basis: StreamBasis) -> dict[str, str]:
    """Node of the teacher for each node of the student; none where streams share no basis."""
    if not basis.shared:
        return {}
    found = same_place(bench.models["student"], bench.models["teacher"], basis)
    matched = {link.student: link.teacher for link in alignment.links}
    return {node: matched.get(node, other) for node, other in found.items()}


def compare_nodes(bench: Bench, alignment: Alignment, basis: StreamBasis) -> MatchedNodes:
    """Every group of nodes; none where heads cannot be matched."""
    groups = node_groups(alignment)
    if alignment.level == "heads" and basis.shared:
        places = same_place(bench.models["student"], bench.models["teacher"], basis)
        mlps = bench.models["student"].spec.mlps
        groups += [NodeGroup((places[mlp],), (mlp,)) for mlp in mlps if mlp in places]
    if not groups:
        return MatchedNodes()
    reasons = {twin.name: _not_at_one_place(bench, twin) for twin in bench.twins}
    used = [twin for twin in bench.twins if not reasons[twin.name]]
    sides = [ModelEffects(bench.effects[r], total_ranges(bench.answers[r])) for r in PAIR]
    seeds = {
        role: [_twin_effects(bench, twin) for twin in used if twin.of == role] for role in PAIR
    }
    changes = diff_nodes(
        sides[0],
        sides[1],
        groups,
        bench.halves[1],
        bench.template_of,
        twins=(seeds["teacher"], seeds["student"]),
        n_resamples=bench.config.n_resamples,
        seed=bench.config.seed,
    )
    return MatchedNodes(tuple(changes), reasons)


def _not_at_one_place(bench: Bench, twin: Twin) -> str:
    """Why the nodes of a twin cannot be set beside those of its model; empty if they can."""
    inputs = [quad.cell(cell) for quad in bench.choosing for cell in CELLS]
    return stream_basis(bench.models[twin.of], twin.model, inputs).reason


def _twin_effects(bench: Bench, twin: Twin) -> ModelEffects:
    answers = bench.twin_answers[twin.name].quads
    assert answers is not None  # interventions are tried on quads only
    known: Role = twin.of
    contrasts = bench.effects[known]
    tested = set(bench.halves[1])
    effects: dict[Contrast, Effects] = {}
    for contrast, pairs in bench.evidence.pairs.items():
        if contrast in contrasts:
            part = pairs.take(i for i, unit in enumerate(pairs.units) if unit in tested)
            effects[contrast] = bench.steps.run(
                f"effects in {twin.name.replace('_', ' ')}, {contrast}",
                pair_dependencies(twin.model, twin.readout, part, bench.config),
                partial(_patch, bench, twin, part),
            )
    return ModelEffects(effects, total_ranges(answers))


def _patch(bench: Bench, twin: Twin, pairs: Pairs[Input]) -> Effects:
    bench.progress.stage(f"patch heads: {twin.name.replace('_', ' ')}, {pairs.contrast}")
    spec = twin.model.spec
    return patch_nodes(
        twin.model,
        pairs,
        (*spec.heads, *spec.mlps),
        bench.config.direction,
        batch_size=bench.config.batch_size,
        readout=twin.readout,
        progress=bench.progress.step,
    )
