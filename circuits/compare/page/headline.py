"""The head of the page: the verdict, and three questions with the numbers that answer them."""

from collections.abc import Mapping
from typing import cast

from circuits.compare.config import Role
from circuits.compare.page.markup import bullets, escape, measure, more, paragraph, tile
from circuits.compare.reading import (
    branch,
    cells,
    estimate,
    gone,
    heads_of,
    listing,
    matched,
    pair,
    text,
)
from circuits.compare.storage import Json
from circuits.compare.wording import interval, number

Result = Mapping[str, object]

_HEADLINES = {
    "erosion": "The student lost debiasing that its teacher has",
    "threshold shift": "The student's threshold moved; its ranking did not",
    "no erosion": "The student kept its teacher's debiasing",
    "undecided": "Whether the student kept the debiasing is undecided",
}
_LOST = {
    "erosion": "Yes",
    "threshold shift": "Only the threshold",
    "no erosion": "No",
    "undecided": "Undecided",
}
_SIGNED, _SHARE = (-1.0, 1.0), (0.0, 1.0)


def headline(result: Result) -> str:
    """Status, sentence, what led there, the two models, and the tiles."""
    status = text(result, "verdict", "status")
    sentences = _sentences(result)
    models = " &rarr; ".join(_describe(result, role) for role in pair(result))
    led = more("What led there", bullets(sentences[1:])) if sentences[1:] else ""
    return (
        f'<div class="verdict"><span class="chip">{escape(status)}</span>'
        f'<span class="chip stamp">two checkpoints</span><h1>{escape(_HEADLINES[status])}</h1>'
        f'{paragraph(sentences[0], "lead")}{led}<p class="models">{models}</p></div>{tiles(result)}'
    )


def tiles(result: Result) -> str:
    """Lost? How much? Where? Nothing where the data hold no quads."""
    if not cells(result):
        return ""
    return f'<div class="tiles">{_lost(result)}{_how_much(result)}{_where(result)}</div>'


def _lost(result: Result) -> str:
    share = " to ".join(
        interval(estimate(result, "models", role, "behavior", "spurious_share"))
        for role in pair(result)
    )
    rows = (
        measure("Loss on N", estimate(result, "losses", "N"), _SIGNED),
        measure("Loss on C", estimate(result, "losses", "C"), _SIGNED),
        measure("Change of AUC4", estimate(result, "erosion", "auc4"), (-0.5, 0.5)),
        measure("Change of the share", estimate(result, "erosion", "spurious_share"), _SIGNED),
    )
    note = (
        f"N: right core, shortcut {gone(result)}; C: wrong core, shortcut present; teacher minus "
        "student, in probability of the right answer. AUC4: (A, N) ranked above (C, L). The "
        f"shortcut's share of the answer went from {share}. {_count(result)}."
    )
    return tile("Lost?", _LOST[text(result, "verdict", "status")], rows, note)


def _how_much(result: Result) -> str:
    kept, loss = estimate(result, "retention"), estimate(result, "losses", "mean")
    rows = (
        measure("Retention", kept, _SHARE),
        measure("Mean loss on C and N", loss, _SIGNED),
        measure(
            "Regained by a threshold", estimate(result, "tests", "threshold", "regained"), _SIGNED
        ),
    )
    if kept.value is None:
        answer = f"{number(loss.value)} lost" if loss.value is not None else "Not known"
    else:
        answer = f"{number(100 * kept.value, 0)} % kept" if kept.value > 0 else "Nothing kept"
    note = (
        "Retention: of the share that debiasing took from the plain teacher, how much the student "
        "kept; below zero it is more biased than the plain teacher. A threshold, chosen on one "
        "half of the quads, gives back this share of the loss on "
        f"the other half. {_count(result)}."
    )
    return tile("How much?", answer, rows, note)


def _where(result: Result) -> str:
    answer, stage = _place(result)
    rows: list[str] = []
    counts: list[str] = []
    student = _stage_row(result, "student", stage)
    teacher = _nearest(result, "teacher", student)
    for role, row in (("student", student), ("teacher", teacher)):
        if row:
            found = estimate(row, "core_NL")
            rows.append(measure(f"Core readable, {role} at {row['stage']}", found, _SHARE))
    if student:
        counts.append(f"{estimate(student, 'core_NL').n:,} quads for the probes")
    regained = estimate(result, "tests", "removal", "restored")
    if regained.value is not None:
        rows.append(measure("Regained without the best set", regained, _SIGNED))
        counts.append(f"{regained.n:,} quads for the set")
    note = " ".join(
        (
            *(
                ["Readable: accuracy of a weak probe, N against L; chance is 0.5."]
                if student
                else []
            ),
            _components(result),
            f"n = {' and '.join(counts)}; one seed." if counts else "",
        )
    )
    return tile("Where?", answer, rows, " ".join(note.split()))


def _place(result: Result) -> tuple[str, str]:
    """The answer, and the stage that its numbers come from; empty for the last one."""
    location = text(result, "verdict", "location")
    if location == "located":
        stage = text(result, "verdict", "stage")
        return f"From {stage} on", stage
    if location:
        return location[:1].upper() + location[1:], ""
    if text(result, "verdict", "status") == "erosion":
        return "Not measured", ""
    return "Nothing to locate", ""


def _components(result: Result) -> str:
    nodes = listing(result, "diff", "nodes")
    if matched(result) and nodes:
        changed = sum(1 for node in nodes if node["category"] in ("weakened", "lost", "gained"))
        return f"Heads are matched: {changed} of {len(nodes)} comparisons of nodes show a change."
    removal = branch(result, "tests", "removal")
    if not removal.get("heads"):
        return ""
    heads = ", ".join(cast("list[str]", removal["heads"]))
    verb = "carries" if removal.get("removable") else "is not shown to carry"
    return f"The set {heads} {verb} the fault."


def _stage_row(result: Result, model: str, stage: str) -> Json:
    """A measured stage of a model, the last one if none is named; empty if there is none."""
    rows = _measured(result, model)
    return next((row for row in rows if row["stage"] == stage), rows[-1] if rows else {})


def _nearest(result: Result, model: str, to: Json) -> Json:
    """The stage of another model at the nearest depth, the earlier one of two as near."""
    rows = _measured(result, model)
    if not rows or not to:
        return {}
    depth = cast(float, to["depth"])
    return min(rows, key=lambda row: round(abs(cast(float, row["depth"]) - depth), 9))


def _measured(result: Result, model: str) -> list[Json]:
    return [
        row
        for row in listing(result, "stages")
        if row.get("model") == model and estimate(row, "core_NL").value is not None
    ]


def _count(result: Result) -> str:
    return f"n = {estimate(result, 'losses', 'mean').n:,} quads, one seed"


def _sentences(result: Result) -> list[str]:
    stored = branch(result, "verdict").get("sentences")
    return [str(line) for line in stored] if isinstance(stored, list) and stored else [""]


def _describe(result: Result, role: Role) -> str:
    size = _size(branch(result, "models", role, "spec"), heads_of(result, role))
    name, family = (text(result, "models", role, key) for key in ("checkpoint", "family"))
    return f"<strong>{escape(name)}</strong> ({escape(family)}, {escape(size)})"


def _size(spec: Json, heads: str) -> str:
    if heads == "channel groups":
        blocks = spec.get("rows")
        n_blocks = len(cast("list[str]", blocks)) if isinstance(blocks, list) else "?"
        return f"{n_blocks} blocks of {spec.get('n_heads')} channel groups"
    decoder = f" + {spec['n_decoder_layers']}" if spec.get("n_decoder_layers") else ""
    return (
        f"{spec.get('n_layers')}{decoder} layers of {spec.get('n_heads')} heads, "
        f"width {spec.get('d_model')}"
    )
