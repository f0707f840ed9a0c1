"""The page of a comparison: opens from disk, without a network, beside plotly's script."""

import html
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import plotly
import plotly.graph_objects as go

from probes.compare.measuring import Findings
from probes.compare.result import StageUse, stage_uses
from probes.figures.curves import decodability_figure, lens_figure, selectivity_figure
from probes.figures.erasing import erasure_figure
from probes.figures.tables import distance_figure, overlap_figure, similarity_figure
from probes.figures.views import example_figure, node_maps_figure, rollout_figure

PAGE, SCRIPT = "probes.html", "plotly.min.js"

_READ = (
    "A probe is a weak linear reader of the mean stream of a stage, asked about quads of templates "
    "that it has not seen. It says what is there, not what is used."
)
_SELECT = (
    "The control task has labels drawn at random for each quad, or for each word. Where the dotted "
    "curve is as high as the solid one, the probe could have learned anything, and says nothing "
    "about the model. Tasks whose types are quads are asked about quads that were seen in other "
    "cells, so their solid curve may differ from the readability above."
)
_LENS = (
    "Raw: the classifier is applied to each stage as it is; before the last stages its margin "
    "depends on the basis, and may mean nothing. Tuned: a linear map to the last stage, fitted on "
    "other templates, stands between. At the last stage both are the model's own margin."
)
_ERASE = (
    "The map takes out what a linear probe of the mean stream can read, at every position, on "
    "quads that did not fit it; the rest of the model runs on. 'Used' needs a drop of the effect "
    "of at least .05 more than as many random directions bring. 'Unused' is said of these "
    "directions only: the model may use another form of the same thing."
)
_CKA = (
    "A high value says that two stages tell the same inputs apart in the same way, up to rotation "
    "and scale. It does not say that they compute the same. Aligned and conflicting inputs come "
    "from the same quads with the same true answers."
)
_ATTEND = (
    "A pattern says where a head looks, not what it moves. The heads of independently trained "
    "models have no counterparts by name, and the nearest pattern is not one."
)
_MAPS = (
    "Rollout multiplies the mean patterns of all layers, half identity for the stream. It says "
    "from where the first token can have taken something, not what it took."
)


def write_page(folder: Path, found: Findings, command: str) -> None:
    """Write `probes.html` and plotly's script into an existing folder."""
    (folder / PAGE).write_text(render(found, command), encoding="utf-8")
    source = Path(plotly.__file__).parent / "package_data" / SCRIPT
    shutil.copyfile(source, folder / SCRIPT)


def render(found: Findings, command: str) -> str:
    """The whole page."""
    figures = _figures(found)
    names = {role: model.name for role, model in found.ready.models.items()}
    drawn = {name: json.loads(str(figure.to_json())) for name, figure in figures.items()}
    home = Path(__file__).parent
    return Template((home / "page.html").read_text(encoding="utf-8")).substitute(
        title=_escape(f"{names['teacher']} and {names['student']}: what is represented"),
        lead=_lead(found),
        sections=_sections(found, figures),
        footer=f"<p>{_escape(command)}</p>",
        figures=json.dumps(drawn, allow_nan=False).replace("<", "\\u003c"),
    )


def use_lines(uses: Sequence[StageUse]) -> list[str]:
    """The answers of the erasures in a few lines, a concept after the other."""
    lines: list[str] = []
    for concept in ("core", "shortcut"):
        stages: dict[str, list[str]] = {}
        for each in uses:
            if each.concept == concept:
                stages.setdefault(each.pair, []).append(each.student_stage)
        said = "; ".join(f"{pair} at {', '.join(names)}" for pair, names in stages.items())
        lines.append(f"{concept.capitalize()}, by stage of the student: {said}.")
    return lines


def _figures(found: Findings) -> dict[str, go.Figure]:
    figures = {
        "decodability": decodability_figure(found.stages),
        "selectivity": selectivity_figure(found.stages),
        "lens": lens_figure(found.stages),
        "erasure": erasure_figure(found.stages),
        "similarity": similarity_figure(found.similarity, found.stages, found.floor),
    }
    if found.attention is not None:
        figures["distances"] = distance_figure(found.attention)
        if found.attention.overlaps:
            figures["overlap"] = overlap_figure(found.attention)
        figures["example"] = example_figure(found.attention.example)
    if found.maps is not None:
        if found.maps.rollout:
            figures["rollout"] = rollout_figure(found.maps)
        for role in found.maps.nodes:
            figures[f"maps-{role}"] = node_maps_figure(found.maps, role)
    return figures


def _sections(found: Findings, figures: dict[str, go.Figure]) -> str:
    parts = [
        ("What is readable", _READ, ["decodability"], ""),
        ("Is it the probe or the model?", _SELECT, ["selectivity"], ""),
        ("When the answer is there", _LENS, ["lens"], ""),
        ("Is it used?", _ERASE, ["erasure"], _use_table(stage_uses(found))),
        ("How similar the stages are", _CKA, ["similarity"], ""),
        ("Where attention goes", _ATTEND, ["distances", "overlap", "example"], ""),
        ("Maps of the images", _MAPS, ["rollout", "maps-teacher", "maps-student"], ""),
    ]
    made: list[str] = []
    for title, caption, names, table in parts:
        shown = [_plot(name, figures[name]) for name in names if name in figures]
        if shown:
            body = "\n".join(shown)
            made.append(
                f"<section><h2>{_escape(title)}</h2>{body}{table}"
                f'<p class="soft">{_escape(caption)}</p></section>'
            )
    return "\n".join(made)


def _lead(found: Findings) -> str:
    ready = found.ready
    families = " and ".join(ready.models[r].spec.family for r in ("teacher", "student"))
    lines = [
        f"Task {ready.task}, {len(ready.quads):,} quads that both models see aligned; {families}.",
        *use_lines(stage_uses(found)),
    ]
    return "".join(f"<p>{_escape(line)}</p>" for line in lines)


def _use_table(uses: Sequence[StageUse]) -> str:
    heads = ("erased", "student's stage", "student", "teacher's stage", "teacher", "both")
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{_escape(cell)}</td>"
            for cell in (
                each.concept,
                each.student_stage,
                each.student,
                each.teacher_stage,
                each.teacher,
                each.pair,
            )
        )
        + "</tr>"
        for each in uses
    )
    head = "".join(f'<th scope="col">{_escape(name)}</th>' for name in heads)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _plot(name: str, figure: go.Figure) -> str:
    layout: Any = figure.layout
    label = layout.title.text.replace("<br>", ". ").replace("<sup>", "").replace("</sup>", "")
    return (
        f'<figure><div class="plot" data-figure="{_escape(name)}" role="img" '
        f'aria-label="{_escape(label)}" style="min-height:{layout.height}px"></div></figure>'
    )


def _escape(text: object) -> str:
    return html.escape(str(text), quote=True)
