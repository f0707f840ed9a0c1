"""The comparison, step by step.

1. Names become checkpoints, companions and twins included; the task is opened; models are loaded.
2. All models must have the task's labels; quads are kept if every model sees them aligned.
3. Every model answers the same quads and in-domain examples; each answer is measured.
4. Student against teacher: agreement, losses, erosion, a refitted threshold, retention.
5. The verdict on behavior follows from a decision table; twins say how large a loss has to be.
6. Heads, MLPs and whole rows of teacher and student are patched, core and shortcut, and heads
   attributed beside; without pairs, heads are ablated to their mean in each group.
7. Edges of teacher and student are scored on some quads; circuits of all sizes are run live on
   others; direct paths are attributed exactly.
8. On further quads weak linear probes say at which stage of each model, and of untrained nets,
   the core feature and the shortcut can be read; the classifier is asked at each stage as well,
   and every two stages of teacher and student are compared as representations.
9. Heads are matched where the pair passes its null, sets of heads are taken away, and the
   teacher's nodes put into the student where their streams share a basis.
10. Effects become shares of each model's own total range, with intervals.
11. What the stages and the interventions showed is added to the verdict.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from behavior.examples import Task
from behavior.progress import Progress, Silent
from behavior.readout import Readout
from circuits.compare.ablating import ablate_pair, ablated_examples, summarize_ablations
from circuits.compare.asking import ask_models, ask_twins
from circuits.compare.by_template import template_rows
from circuits.compare.causal.intervening import intervene
from circuits.compare.causal.numbers import (
    describe_alignment,
    describe_tests,
    intervention_arrays,
)
from circuits.compare.circuit_numbers import circuit_arrays, circuit_branches
from circuits.compare.comparison import Comparison
from circuits.compare.components import patch_pair
from circuits.compare.config import PAIR, ComparisonConfig, Role
from circuits.compare.differences import compare_roles, example_agreement, judge
from circuits.compare.discovering import discover_pair
from circuits.compare.estimating import summarize_attribution
from circuits.compare.evidence import Evidence, align_evidence, gather_evidence, open_task
from circuits.compare.explaining import locating, with_location, with_tests
from circuits.compare.failing import failures
from circuits.compare.failing_heads import explain_failures
from circuits.compare.measuring import RoleMeasures, draw, measure_role
from circuits.compare.profile.depth_margins import (
    lens_of,
    margin_arrays,
    margin_rows,
    read_margins,
)
from circuits.compare.profile.representations import (
    describe_representations,
    measure_similarity,
)
from circuits.compare.profile.stage_reading import read_stages
from circuits.compare.profile.stages import stage_rows
from circuits.compare.relative import pair_ranges, summarize_pair
from circuits.compare.result import (
    describe_components,
    describe_differences,
    describe_models,
    describe_task,
    gather_arrays,
    limits,
)
from circuits.compare.roles import (
    Models,
    Opened,
    RoleEntry,
    load_roles,
    read_role_labels,
    resolve_roles,
)
from circuits.compare.running.cost import estimate_cost
from circuits.compare.running.provenance import Clock, provenance
from circuits.compare.running.steps import UNSTORED, Steps
from circuits.compare.storage import SCHEMA_VERSION, Json
from circuits.compare.swapping import swapped_losses
from circuits.compare.twin_cues import twin_arrays, twin_cues
from circuits.compare.twins import (
    Twins,
    choose_delta,
    describe_twins,
    load_twins,
    resolve_twins,
    seed_answers,
    twin_models,
)
from patching import PatchableModel


class Prepared(NamedTuple):
    """All that can be wrong has been looked at; what is left only takes time.

    Attributes:
        roles: What was given, or found, for each role.
        models: Opened.
        readouts: The task's labels among each model's classes.
        evidence: Inputs that every model can read.
        twins: Of teacher and student, from other seeds.
    """

    roles: dict[Role, RoleEntry]
    models: Models
    readouts: dict[Role, Readout]
    evidence: Evidence
    twins: Twins = ()


def compare_models(
    teacher: str | Path,
    student: str | Path,
    *,
    task: str | Task[Any] | None = None,
    examples: str | Path | None = None,
    progress: Progress | None = None,
    **options: object,
) -> Comparison:
    """Compare two checkpoints; the same as the command, without files.

    Args:
        teacher: Name in checkpoints.yaml, folder or hub id.
        student: The same.
        task: Name, or an opened task; by default the one the checkpoints name.
        examples: File to read instead.
        progress: Told about stages and steps.
        **options: Other fields of `ComparisonConfig`.

    Raises:
        CircuitsError: If anything given cannot be used; the message says what to do.
    """
    named = task if isinstance(task, str) or task is None else task.name
    config = ComparisonConfig(
        str(teacher),
        str(student),
        task=named,
        examples=None if examples is None else str(examples),
        **options,  # pyright: ignore[reportArgumentType]
    )
    opened = None if isinstance(task, str) else task
    return run_comparison(config, progress or Silent(), task=opened)


def run_comparison(
    config: ComparisonConfig,
    progress: Progress,
    *,
    command: str = "compare_models(...)",
    task: Task[Any] | None = None,
    steps: Steps = UNSTORED,
    prepared: Prepared | None = None,
) -> Comparison:
    """Every step of a comparison, in order.

    Args:
        config: What is asked for.
        progress: Told about stages and steps.
        command: As it was given, for the result.
        task: An opened task, instead of a named one.
        steps: Where results of expensive steps are kept, and taken from.
        prepared: What `prepare` made of this config, if that was done already.

    Raises:
        CircuitsError: If anything given cannot be used.
    """
    clock = Clock()
    roles, models, readouts, evidence, twins = prepared or prepare(config, progress, task)
    draws = draw(evidence, config)
    progress.ready()

    progress.stage("ask every model")
    answers = ask_models(models, readouts, evidence, config, progress, steps)
    others = ask_twins(twins, evidence, config, progress, steps)

    progress.stage("measure behavior")
    measures: dict[Role, RoleMeasures] = {
        role: measure_role(given, evidence, draws) for role, given in answers.items()
    }

    progress.stage("compare student and teacher")
    differences = compare_roles(answers, draws, config)
    seeds = seed_answers(
        {role: answers[role].quads for role in PAIR},
        twins,
        {name: given.quads for name, given in others.items()},
    )
    delta = choose_delta(seeds, draws.units, config.delta)
    verdict = judge(measures, differences, delta, models["student"].spec.modality)

    effects = patch_pair(models, readouts, evidence.pairs, config, progress, steps)
    ablated = ablated_examples(evidence, config)
    ablations = ablate_pair(models, readouts, ablated, config, progress, steps)

    circuits = discover_pair(models, readouts, evidence.pairs, config, progress, steps)

    readings = read_stages(models, evidence, config, progress, steps, twin_models(twins))
    deep = read_margins(models, readouts, evidence, config, progress, steps)
    alike = measure_similarity(models, evidence, config, progress, steps)

    tried = intervene(
        models, readouts, evidence, answers, effects, config, progress, steps, (twins, others)
    )

    progress.stage("intervals of effects")
    ranges = pair_ranges(answers, effects, draws)
    components = describe_components(
        summarize_pair(effects, ranges, draws, config.direction),
        summarize_attribution(effects, ranges, draws),
        summarize_ablations(ablations, ablated, draws),
        circuit_branches(circuits, ranges, draws),
    )

    verdict = with_location(verdict, *locating(readings))
    verdict = with_tests(verdict, tried)

    result: Json = {
        "schema_version": SCHEMA_VERSION,
        "config": config.to_json(),
        "provenance": {
            **provenance(clock, command, torch.get_num_threads(), config.backend),
            "resumed": list(steps.taken),
        },
        "task": describe_task(evidence, ablated, readings.quads),
        "models": describe_models(roles, models, readouts, measures, components),
        **describe_twins(twins, delta),
        **twin_cues(twins, others, draws),
        **describe_differences(
            differences,
            example_agreement(answers, draws),
            {**describe_tests(tried), "swapped": swapped_losses(answers, config.seed)},
        ),
        "templates": template_rows(answers, config),
        "stages": stage_rows(effects, ranges, draws, readings),
        "margins": margin_rows(deep, evidence, draws, lens_of(models)),
        "similarity": describe_representations(alike),
        **describe_alignment(tried),
        "verdict": verdict.to_json(),
        "failures": explain_failures(
            failures(evidence, answers), models, evidence, effects, ranges
        ),
        "limits": limits(
            evidence,
            models,
            ablations,
            readable=readings.measured,
            intervened=not tried.reason,
        ),
    }
    arrays = gather_arrays(answers, effects, ablations) | circuit_arrays(circuits)
    arrays |= margin_arrays(deep) | intervention_arrays(tried) | twin_arrays(others)
    return Comparison(result, arrays | alike.arrays | readings.arrays())


def prepare(
    config: ComparisonConfig,
    progress: Progress,
    task: Task[Any] | None = None,
    opened: Opened | None = None,
) -> Prepared:
    """Names become models, and the task becomes inputs that all of them can read.

    Args:
        config: What is asked for.
        progress: Told about stages and steps.
        task: An opened task, instead of a named one.
        opened: Models that are open already; those opened here are added.

    Raises:
        CircuitsError: If anything given cannot be used.
    """
    progress.stage("resolve names and open the task")
    roles = resolve_roles(config)
    named_twins = resolve_twins(config)
    source = task or open_task(config, roles)
    progress.stage("load and check models")
    known: Opened = {} if opened is None else opened
    models = load_roles(roles, config, progress, known)
    readouts = read_role_labels(models, source.labels)
    twins = load_twins(named_twins, models, readouts, config, known)
    progress.stage("align inputs")
    everyone: dict[str, PatchableModel] = {**models, **twin_models(twins)}
    evidence = align_evidence(gather_evidence(source, config), everyone)
    return Prepared(roles, models, readouts, evidence, twins)


def dry_run(config: ComparisonConfig, progress: Progress) -> list[str]:
    """What `run_comparison` would do and cost, as lines.

    Raises:
        CircuitsError: As `run_comparison` would.
    """
    _, models, _, evidence, twins = prepare(config, progress)
    progress.stage("time a batch")
    return estimate_cost(models, evidence, config, twin_models(twins))
