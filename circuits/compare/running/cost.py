"""What a comparison would cost: forwards, minutes, memory, without running it.

Forwards are counted in whole ones: patching a node of row r re-runs the rows from r on, which on
average is (R + 1) / 2R of a forward with plain hooks and a whole one with another backend; a
backward counts as two. The speed is timed on one batch of
the real inputs.
"""

import time
from collections.abc import Mapping

from behavior.examples import CELLS
from behavior.inputs import Input
from circuits.compare.ablating import ablated_examples
from circuits.compare.components import has_attention
from circuits.compare.config import COMPANIONS, PAIR, ComparisonConfig, Role
from circuits.compare.discovering import MOST_PAIRS
from circuits.compare.evidence import Evidence
from patching import PatchableModel

_TIMED = 64
_PARTS = 3
"""Whole rows are patched as heads, as patterns and as values."""
_ATTRIBUTION = 4
"""Attribution takes two forwards and a backward."""
_SCORING, _TESTING = 24, 120
"""Forwards of a pair that scores edges (five gradients), and of one that runs circuits live (36
circuits, each about three forwards)."""
_DIRECT = 2
_BASE_MEGABYTES = 600
"""Python with torch and transformers, before any model."""


def estimate_cost(
    models: Mapping[Role, PatchableModel],
    evidence: Evidence,
    config: ComparisonConfig,
    twins: Mapping[str, PatchableModel] | None = None,
) -> list[str]:
    """Lines that say how much there is to do and how long it would take.

    Args:
        models: By role.
        evidence: Inputs.
        config: Of the comparison.
        twins: By name.
    """
    n_inputs = 4 * len(evidence.quads) + len(evidence.examples)
    if not evidence.quads:
        n_inputs += sum(2 * len(pairs) for pairs in evidence.pairs.values())
    lines = [f"Inputs: {_describe(evidence)}, {config.direction}"]
    total = 0.0
    everyone: dict[str, PatchableModel] = {**_distinct(models), **(twins or {})}
    for role, model in everyone.items():
        forwards = n_inputs + _probe_forwards(role, evidence, config)
        forwards += _patching_forwards(model, evidence, config) if role in PAIR else 0
        per_forward = _seconds_per_forward(model, evidence, config)
        total += forwards * per_forward
        lines.append(
            f"{role} ({model.name}): {forwards:,.0f} forwards at {1000 * per_forward:.2f} ms, "
            f"{forwards * per_forward / 60:.1f} min"
        )
    lines.append(
        f"Expected: {max(total / 60, 0.1):.1f} min, and under a minute for intervals and pages"
    )
    lines.append(f"Memory: about {_memory(models):,.0f} MB, whatever the number of pairs")
    return lines


def _describe(evidence: Evidence) -> str:
    pairs = ", ".join(f"{len(p):,} {contrast} pairs" for contrast, p in evidence.pairs.items())
    parts = (
        f"{len(evidence.quads):,} quads" if evidence.quads else "",
        pairs,
        f"{len(evidence.examples):,} examples" if evidence.examples else "",
    )
    return ", ".join(part for part in parts if part)


def _patching_forwards(
    model: PatchableModel, evidence: Evidence, config: ComparisonConfig
) -> float:
    spec, parts = model.spec, _PARTS if has_attention(model) else 1
    share = (len(spec.rows) + 1) / (2 * len(spec.rows)) if config.backend == "hooks" else 1.0
    patches = len(spec.heads) + len(spec.mlps) + parts * len(spec.rows)
    each = 2 * parts + share * patches + _ATTRIBUTION
    ablations = len(ablated_examples(evidence, config)) * (2 + share * len(spec.heads))
    patching = sum(len(pairs) * each for pairs in evidence.pairs.values())
    return patching + ablations + _circuit_forwards(evidence, config)


def _probe_forwards(role: str, evidence: Evidence, config: ComparisonConfig) -> int:
    """Of the model on the quads of the probes, and of an untrained net like it."""
    if not evidence.quads:
        return 0
    available = evidence.task.n_quads
    n = config.n_probe_quads if available is None else min(config.n_probe_quads, available)
    return len(CELLS) * n * (2 if role in PAIR else 1)


def _circuit_forwards(evidence: Evidence, config: ComparisonConfig) -> float:
    if config.discovery == "none":
        return 0.0
    return sum(
        min(len(pairs) / 2, float(MOST_PAIRS)) * (_SCORING + _TESTING) + _DIRECT * len(pairs)
        for pairs in evidence.pairs.values()
    )


def _seconds_per_forward(
    model: PatchableModel, evidence: Evidence, config: ComparisonConfig
) -> float:
    inputs = _some_inputs(evidence)
    model.logits(inputs[:8], config.batch_size)
    start = time.perf_counter()
    model.logits(inputs, config.batch_size)
    return (time.perf_counter() - start) / len(inputs)


def _some_inputs(evidence: Evidence) -> list[Input]:
    inputs = [quad.A for quad in evidence.quads[:_TIMED]]
    inputs += [clean for pairs in evidence.pairs.values() for clean in pairs.clean[:_TIMED]]
    inputs += [example.input for example in evidence.examples[:_TIMED]]
    return inputs[:_TIMED]


def _memory(models: Mapping[Role, PatchableModel]) -> float:
    weights = sum(
        parameter.numel() * parameter.element_size()
        for model in _distinct(models).values()
        for parameter in model.hf.parameters()
    )
    return _BASE_MEGABYTES + 1.5 * weights / 2**20


def _distinct(models: Mapping[Role, PatchableModel]) -> dict[Role, PatchableModel]:
    order: tuple[Role, ...] = (*PAIR, *COMPANIONS)
    found: dict[int, Role] = {}
    for role in order:
        if role in models:
            found.setdefault(id(models[role]), role)
    return {role: models[role] for role in found.values()}
