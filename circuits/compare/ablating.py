"""Where the data are groups without pairs: what each head does for the right answer in each group.

There is nothing to patch from, so heads of teacher and student are ablated to their mean over the
examples of both groups, and the fall of the margin is averaged within each group. This shows what
a head does where the shortcut helps and where it misleads, and not through which cue.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

from behavior.estimates import Estimate
from behavior.examples import Example
from behavior.inputs import Input
from behavior.progress import Progress
from behavior.readout import Readout
from behavior.sources import choose
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.evidence import Evidence
from circuits.compare.measuring import Draws
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.storage import Json
from patching import PatchableModel
from patching.ablation import AblationEffects, ablate_heads
from patching.summary import EffectSummary

Group = Literal["aligned", "conflicting"]
GROUPS: tuple[Group, ...] = get_args(Group)

RoleAblations = dict[Role, AblationEffects]


def ablated_examples(evidence: Evidence, config: ComparisonConfig) -> tuple[Example[Input], ...]:
    """Examples of both groups, at most half of `n_pairs` of each; none where there are pairs."""
    if evidence.quads or evidence.pairs:
        return ()
    found: list[Example[Input]] = []
    for group in GROUPS:
        members = [example for example in evidence.examples if group_of(example) == group]
        ids = [example.id for example in members]
        found += [members[i] for i in choose(ids, (config.n_pairs + 1) // 2, config.seed)]
    return tuple(found)


def group_of(example: Example[Input]) -> Group | None:
    """Whether the shortcut points to the label of an example; None where that is not known."""
    if example.aligned is None:
        return None
    return "aligned" if example.aligned else "conflicting"


def ablate_pair(
    models: Mapping[Role, PatchableModel],
    readouts: Mapping[Role, Readout],
    examples: tuple[Example[Input], ...],
    config: ComparisonConfig,
    progress: Progress,
    steps: Steps = UNSTORED,
) -> RoleAblations:
    """Effects in teacher and student; equal models are ablated once, none without examples."""
    if not examples:
        return {}
    known: dict[int, AblationEffects] = {}
    for role in PAIR:
        if id(models[role]) not in known:
            depends = {
                "model": models[role],
                "readout": readouts[role],
                "data": examples,
                "batch size": config.batch_size,
            }
            known[id(models[role])] = steps.run(
                f"ablations of {role}",
                depends,
                partial(_ablate, models[role], readouts[role], examples, config, progress, role),
            )
    return {role: known[id(models[role])] for role in PAIR}


def summarize_ablations(
    ablations: RoleAblations, examples: tuple[Example[Input], ...], draws: Draws
) -> dict[Role, Json]:
    """Mean effect of each head on each group, in logits, with p and q over the heads."""
    members = {
        group: [i for i, example in enumerate(examples) if group_of(example) == group]
        for group in GROUPS
    }
    return {
        role: {
            "kind": found.kind,
            "reference": found.reference,
            "unit": found.unit,
            "groups": {
                group: {"nodes": _nodes(found.summary(draws.examples, where))}
                for group, where in members.items()
                if where
            },
        }
        for role, found in ablations.items()
    }


def _ablate(
    model: PatchableModel,
    readout: Readout,
    examples: tuple[Example[Input], ...],
    config: ComparisonConfig,
    progress: Progress,
    role: Role,
) -> AblationEffects:
    progress.stage(f"ablate heads: {role}")
    return ablate_heads(
        model,
        examples,
        batch_size=config.batch_size,
        readout=readout,
        progress=progress.step,
    )


def _nodes(summary: EffectSummary) -> Json:
    return {
        node: {
            **Estimate.of(
                float(summary.mean[i]), float(summary.low[i]), float(summary.high[i]), summary.n
            ).to_json(),
            "p": float(summary.p[i]),
            "q": float(summary.q[i]),
        }
        for i, node in enumerate(summary.nodes)
    }
