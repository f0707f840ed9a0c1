"""The sentences that read the figures of components, made from the numbers that they show."""

from collections.abc import Mapping

from behavior.estimates import Estimate
from behavior.examples import Contrast
from circuits.compare.config import Role
from circuits.compare.reading import (
    SHARE,
    Panel,
    effect_unit,
    estimate,
    groups,
    heads_of,
    is_head,
    listing,
    matched,
    node_estimates,
    pair,
    panels,
    roles,
    rows_of,
    sample,
    text,
)
from circuits.compare.storage import Json
from circuits.compare.wording import NO_ATTENTION, interval, percent

Result = Mapping[str, object]

CLEAR = 0.02
"""Share of the total range from which on a head is said to carry a contrast."""


def heads_caption(result: Result, role: Role, panel: Panel) -> str:
    """The strongest heads of one map."""
    nodes = node_estimates(result, role, panel)
    heads = {name: found for name, found in nodes.items() if is_head(name)}
    ranked = sorted(heads, key=lambda name: -abs(heads[name].value or 0.0))[:2]
    clear = sum(1 for found in heads.values() if found.excludes_zero)
    strongest = " and ".join(f"{name} {interval(heads[name])}" for name in ranked)
    how = " (no pairs: mean ablation)" if panel in groups(result, role) else ""
    return (
        f"{_capital(role)}, {panel}{how}: strongest {strongest}; the interval of {clear} of "
        f"{len(heads)} {heads_of(result, role)} excludes zero."
    )


def attribution_caption(result: Result, contrast: Contrast) -> str:
    """How well the first-order estimate agrees with exact patching, in each model."""
    parts = [
        f"{role}: r = {interval(found)} over {n} {heads_of(result, role)}"
        if found.value is not None
        else f"{role}: no correlation ({found.reason})"
        for role in pair(result)
        for found in (estimate(result, "models", role, "attribution", contrast, "pearson"),)
        for n in (len(_heads(result, role, contrast)),)
    ]
    backend = text(result, "config", "backend") or "hooks"
    other = (
        ""
        if backend == "hooks"
        else f" Heads were patched with {backend}; attribution comes from plain hooks."
    )
    return (
        f"Pearson correlation over heads, {'; '.join(parts)}; {sample(result)}, intervals by "
        "resampling them. Attribution is first order: the gradient in the run that is patched "
        "into, times the change. On the dashed line it equals exact patching." + other
    )


def layers_caption(result: Result, contrast: Contrast) -> str:
    """The layer that carries most in each of the two models."""
    key = f"layer_{contrast}" + ("" if effect_unit(result) == SHARE else "_logits")
    parts = [_strongest_layer(result, role, key) for role in roles(result)[:2]]
    known = [part for part in parts if part]
    if not known:
        return "Whole-layer effects were not measured."
    without = [role for role in roles(result)[:2] if not _has_parts(result, role, contrast)]
    have = "have" if len(without) > 1 else "has"
    absent = f" The {' and the '.join(without)} {have} no attention."
    if len(without) == 2:
        return f"{' '.join(known)}{absent}"
    return (
        f"{' '.join(known)} Patterns: only where the heads look is patched; values: only what "
        f"they read there. The lines need not add up.{absent if without else ''}"
    )


def heads_summary(result: Result) -> str:
    """How many heads of each model carry core and shortcut, by interval."""
    parts: list[str] = []
    for role in roles(result)[:2]:
        counts = [
            f"{_n_above(result, found)} of {len(found)} {_does(result, role, panel)}"
            for panel in panels(result, role)
            for found in (_heads(result, role, panel),)
        ]
        if counts:
            parts.append(f"in the {role} {' and '.join(counts)}")
    bar = f"{CLEAR:g}" if effect_unit(result) == SHARE else "zero"
    kinds = dict.fromkeys(heads_of(result, role) for role in pair(result))
    return f"{_capital(' and '.join(kinds))} whose interval lies above {bar}: {'; '.join(parts)}."


def all_heads(result: Result) -> str:
    """What is patched together, such as `All heads of a layer`."""
    heads = " and ".join(dict.fromkeys(heads_of(result, role) for role in pair(result)))
    rows = {rows_of(result, role) for role in pair(result)}
    return f"All {heads} of a {rows.pop() if len(rows) == 1 else 'row'}"


def legend_sentences(result: Result) -> str:
    """How to read the colors and crosses of the maps."""
    ablated = any(groups(result, role) for role in pair(result))
    key = (
        "red helps the right answer, blue works against it"
        if ablated
        else "red carries the contrast, blue works against it"
    )
    has_mlps = any(
        not is_head(name)
        for role in pair(result)
        for panel in panels(result, role)
        for name in node_estimates(result, role, panel)
    )
    kinds = " and ".join(dict.fromkeys(heads_of(result, role) for role in pair(result)))
    unmatched = (
        "" if matched(result) else f" {_capital(kinds)} stand side by side and are not matched."
    )
    return (
        f"{key}; one scale for all maps, in {effect_unit(result)}. "
        f"{'MLPs may lie beyond it. ' if has_mlps else ''}A cross marks a cell whose interval "
        f"reaches zero.{unmatched}"
    )


def _strongest_layer(result: Result, role: Role, key: str) -> str:
    rows: list[Json] = [
        row
        for row in listing(result, "stages")
        if row.get("model") == role and estimate(row, key).value is not None
    ]
    if not rows:
        return ""
    best = max(rows, key=lambda row: abs(estimate(row, key).value or 0.0))
    found = estimate(best, key)
    amount = (
        f"{percent(found)} of the total range"
        if effect_unit(result) == SHARE
        else f"{interval(found)} logits"
    )
    return f"In the {role} the largest effect is that of {best['stage']}: {amount}."


def _does(result: Result, role: Role, panel: Panel) -> str:
    if panel in groups(result, role):
        return f"help on {panel} examples"
    return f"carry the {panel}"


def _has_parts(result: Result, role: Role, contrast: Contrast) -> bool:
    """Whether a model has attention, of which patterns and values were patched on their own."""
    key = f"layer_{contrast}_patterns"
    rows = [row for row in listing(result, "stages") if row.get("model") == role]
    return not any(estimate(row, key).reason == NO_ATTENTION for row in rows)


def _heads(result: Result, role: Role, panel: Panel) -> list[Estimate]:
    nodes = node_estimates(result, role, panel)
    return [found for name, found in nodes.items() if is_head(name)]


def _n_above(result: Result, found: list[Estimate]) -> int:
    bar = CLEAR if effect_unit(result) == SHARE else 0.0
    return sum(1 for each in found if each.low is not None and each.low > bar)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
