"""The page: drawn from a stored result alone, opens from disk without a network.

1. The verdict, with tiles for the numbers it rests on.
2. All roles side by side: accuracy by cell, the core-shortcut plane, one table.
3. Confidence when wrong, and agreement with the teacher.
4. What can be read at each stage of each model.
5. Where the two models differ: heads on one scale, whole layers by relative depth.
6. Circuits of both models: how faithful, which edges, and what reaches the answer directly.
7. Interventions: what comes back, what is needed, and which matched nodes changed.
8. Examples on which the student fails and the teacher does not.
9. What cannot yet be said.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import cast

import plotly

from circuits.compare import captions
from circuits.compare.circuits_section import circuits_section
from circuits.compare.components_section import components_section
from circuits.compare.config import Role
from circuits.compare.figures import report_figures
from circuits.compare.footer import footer
from circuits.compare.interventions_section import interventions_section
from circuits.compare.markup import (
    bullets,
    columns,
    escape,
    paragraph,
    plot,
    section,
    tile,
)
from circuits.compare.reading import (
    branch,
    cells,
    estimate,
    gone,
    heads_of,
    pair,
    roles,
    text,
)
from circuits.compare.stages_section import stages_section
from circuits.compare.storage import Json
from circuits.compare.tables import (
    agreement_table,
    contrast_table,
    failure_table,
    group_table,
    role_table,
)
from circuits.compare.wording import interval

PAGE = "report.html"
PLOTLY = "plotly.min.js"

_HEADLINES = {
    "erosion": "The student lost debiasing that its teacher has",
    "threshold shift": "The student's threshold moved; its ranking did not",
    "no erosion": "The student kept its teacher's debiasing",
    "undecided": "Whether the student kept the debiasing is undecided",
}

Result = Mapping[str, object]


def write_report(folder: Path, result: Result) -> None:
    """Write `report.html`, and `plotly.min.js` once, into an existing folder."""
    (folder / PAGE).write_text(render(result), encoding="utf-8")
    copy_plotly(folder)


def copy_plotly(folder: Path) -> None:
    """Put plotly's script into the folder, where the page and the heatmaps look for it."""
    if not (folder / PLOTLY).is_file():
        source = Path(plotly.__file__).parent / "package_data" / PLOTLY
        shutil.copyfile(source, folder / PLOTLY)


def render(result: Result) -> str:
    """The whole page."""
    home = Path(__file__).parent
    figures = {name: json.loads(str(f.to_json())) for name, f in report_figures(result).items()}
    sections = (
        _erosion(result),
        _confidence(result),
        stages_section(result),
        components_section(result),
        circuits_section(result),
        interventions_section(result),
        _examples(result),
        _limits(result),
    )
    return Template((home / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{_name(result, 'teacher')} and {_name(result, 'student')} compared"),
        status=escape(text(result, "verdict", "status")),
        style=(home / "page.css").read_text(encoding="utf-8"),
        script=(home / "page.js").read_text(encoding="utf-8"),
        headline=_headline(result),
        sections="\n".join(part for part in sections if part),
        footer=footer(result),
        figures=json.dumps(figures, allow_nan=False).replace("<", "\\u003c"),
    )


def _headline(result: Result) -> str:
    status = text(result, "verdict", "status")
    sentences = _sentences(result)
    models = " &rarr; ".join(_describe(result, role) for role in pair(result))
    led = f"<details><summary>What led there</summary>{bullets(sentences[1:])}</details>"
    return (
        f'<div class="verdict"><span class="chip">{escape(status)}</span>'
        f'<span class="chip stamp">two checkpoints</span><h1>{escape(_HEADLINES[status])}</h1>'
        f"{paragraph(sentences[0], 'lead')}{led if sentences[1:] else ''}"
        f'<p class="models">{models}</p></div>{_tiles(result)}'
    )


def _tiles(result: Result) -> str:
    if not cells(result):
        return ""
    share = " to ".join(
        interval(estimate(result, "models", role, "behavior", "spurious_share"))
        for role in pair(result)
    )
    tiles = (
        (
            "Loss on N",
            ("losses", "N"),
            f"right core, shortcut {gone(result)}; teacher minus student",
            1.0,
        ),
        ("Loss on C", ("losses", "C"), "wrong core, shortcut present; teacher minus student", 1.0),
        ("Change of the spurious share", ("erosion", "spurious_share"), f"from {share}", 1.0),
        (
            "Change of the spurious gap",
            ("erosion", "spurious_gap"),
            "accuracy A, L minus C, N",
            1.0,
        ),
        ("Change of AUC4", ("erosion", "auc4"), "(A, N) ranked above (C, L)", 0.5),
        ("Regained by a threshold", ("tests", "threshold", "regained"), "share of the loss", 1.0),
    )
    return (
        '<div class="tiles">'
        + "".join(
            tile(name, found, f"{note}; n = {found.n:,} quads", (-limit, limit))
            for name, path, note, limit in tiles
            for found in (estimate(result, *path),)
        )
        + "</div>"
    )


def _erosion(result: Result) -> str:
    title = "Did it erode?"
    if not cells(result):
        return section(
            "erosion",
            title,
            paragraph(_why_no_quads(result)),
            contrast_table(result),
            group_table(result),
        )
    kept = estimate(result, "retention")
    retention = (
        f"Retention: of the share that debiasing took from the plain teacher the student kept "
        f"{interval(kept)}."
        if kept.value is not None
        else f"Retention is not known: {kept.reason}."
    )
    height = 150 + 62 * len(roles(result))
    return section(
        "erosion",
        title,
        columns(
            plot("accuracy", captions.accuracy_caption(result), "Accuracy by cell", height),
            plot("plane", captions.plane_caption(result), "Core-shortcut plane", 430),
        ),
        paragraph(retention),
        role_table(result),
    )


def _confidence(result: Result) -> str:
    if not cells(result):
        table = agreement_table(result)
        return section("agreement", "Where do the two disagree?", table) if table else ""
    return section(
        "confidence",
        "How sure is it when it is wrong, and where do the two disagree?",
        columns(
            plot("confidence", captions.confidence_caption(result), "Confidence when wrong", 340),
            plot("agreement", captions.agreement_caption(result), "Agreement by cell", 340),
        ),
        agreement_table(result),
    )


def _examples(result: Result) -> str:
    table = failure_table(result)
    if not table:
        return ""
    return section(
        "examples", "Examples on which the student fails and the teacher does not", table
    )


def _limits(result: Result) -> str:
    stored = result.get("limits")
    lines = [str(line) for line in stored] if isinstance(stored, list) else []
    return section("limits", "What cannot yet be said", bullets(lines))


def _why_no_quads(result: Result) -> str:
    return (
        "These data hold no quads, so core and shortcut cannot be told apart: there are no losses "
        "on C and N, no share and no AUC4. What can be measured is below."
    )


def _sentences(result: Result) -> list[str]:
    stored = branch(result, "verdict").get("sentences")
    return [str(line) for line in stored] if isinstance(stored, list) and stored else [""]


def _name(result: Result, role: str) -> str:
    return text(result, "models", role, "checkpoint")


def _describe(result: Result, role: Role) -> str:
    size = _size(branch(result, "models", role, "spec"), heads_of(result, role))
    family = text(result, "models", role, "family")
    return f"<strong>{escape(_name(result, role))}</strong> ({escape(family)}, {escape(size)})"


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
