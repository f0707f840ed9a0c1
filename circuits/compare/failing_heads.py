"""What the heads of both models do on single failing examples: effects, and where one looks.

Of a quad whose cell fails, the pairs count in which that cell takes part: one for the core
feature, one for the shortcut. A head's effect on a single pair has no interval; it says what
carried the contrast here, and nothing about other examples.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from behavior.examples import Cell, Contrast, Quad
from behavior.inputs import Input
from circuits.compare.components import ComponentEffects, RoleEffects
from circuits.compare.config import PAIR, Role
from circuits.compare.evidence import Evidence
from circuits.compare.failing_attention import can_look, where_they_look
from circuits.compare.relative import TotalRange
from circuits.compare.storage import Json
from patching import PatchableModel
from patching.models.nodes import Node

N_HEADS = 3
_OWN = ("contrast", "node", "from", "weights", "rest")
"""What is not the same for all heads of a model on one input."""


def explain_failures(
    failures: Sequence[Json],
    models: Mapping[Role, PatchableModel],
    evidence: Evidence,
    effects: RoleEffects,
    ranges: Mapping[Role, TotalRange],
) -> list[Json]:
    """The failures, each with what the heads of both models do; as they are without quads.

    `heads` holds, by role and contrast, the heads with the largest effects on this pair, in logits
    and as shares of the model's own total range. `attention` holds, by role, where the strongest
    of these heads looks, and `more_attention` where the others look, over the same words or
    patches; both are missing for a family without attention.
    """
    if not evidence.quads or any(not effects.get(role) for role in PAIR):
        return list(failures)
    quads = {quad.id: quad for quad in evidence.quads}
    explained: list[Json] = []
    for failure in failures:
        quad, cell = quads[str(failure["id"])], cast(Cell, failure["cell"])
        heads: dict[str, Json] = {}
        looks: dict[str, Json] = {}
        more: dict[str, list[Json]] = {}
        for role in PAIR:
            found = _strongest(effects[role], quad.id, cell, ranges[role])
            heads[role] = {contrast: each for contrast, (each, _) in found.items()}
            if seen := _looks(models[role], quad, cell, found):
                looks[role] = seen[0]
                more[role] = [{k: v for k, v in each.items() if k in _OWN} for each in seen[1:]]
        explained.append({**failure, "heads": heads, "attention": looks, "more_attention": more})
    return explained


Found = dict[Contrast, tuple[list[Json], Cell]]
"""By contrast: the strongest heads, and the cell that the failing one is compared with."""


def _strongest(
    effects: Mapping[Contrast, ComponentEffects], unit: str, cell: Cell, divisor: TotalRange
) -> Found:
    whole = None if divisor.reason else float(divisor.rows.mean())
    found: Found = {}
    for contrast, each in effects.items():
        nodes = each.nodes
        for row, (own, step) in enumerate(zip(nodes.units, nodes.steps, strict=True)):
            cells = step.split("->")
            if own != unit or cell not in cells:
                continue
            values = {
                node: float(nodes.values[row, i])
                for i, node in enumerate(nodes.nodes)
                if Node.parse(node).kind == "head"
            }
            top = sorted(values, key=lambda node: -abs(values[node]))[:N_HEADS]
            other = cells[1] if cells[0] == cell else cells[0]
            found[contrast] = (_described(top, values, whole), cast(Cell, other))
    return found


def _described(top: Iterable[str], values: Mapping[str, float], whole: float | None) -> list[Json]:
    return [
        {
            "node": node,
            "logits": values[node],
            "share": values[node] / whole if whole else None,
        }
        for node in top
    ]


def _looks(model: PatchableModel, quad: Quad[Input], cell: Cell, found: Found) -> list[Json]:
    """Where the heads look that read the input by attention, the strongest first."""
    seen: list[tuple[float, Json]] = []
    for contrast, (heads, other) in found.items():
        strength = {
            str(head["node"]): abs(cast(float, head["logits"]))
            for head in heads
            if can_look(model, str(head["node"]))
        }
        if strength:
            given = quad.cell(cell), quad.cell(other)
            for each in where_they_look(model, *given, list(strength)):
                seen.append((strength[str(each["node"])], {"contrast": contrast, **each}))
    return [each for _, each in sorted(seen, key=lambda one: -one[0])]
