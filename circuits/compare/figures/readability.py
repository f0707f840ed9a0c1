"""What weak probes read at each stage, by relative depth."""

from collections.abc import Mapping
from typing import Any, Literal

import plotly.graph_objects as go

from circuits.compare.figures.style import (
    GREY,
    PERCENT,
    ROLE_COLORS,
    ROLE_SYMBOLS,
    Dash,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import estimate, listing
from circuits.compare.storage import Json
from circuits.compare.wording import ROLE_NAMES, model_name

Question = Literal["core_NL", "core_AC", "transfer", "shortcut"]

QUESTIONS: dict[Question, str] = {
    "core_NL": "core without the shortcut (N against L)",
    "core_AC": "core beside the shortcut (A against C)",
    "transfer": "core: trained on A and C, asked on N and L",
    "shortcut": "shortcut (A against N, C against L)",
}
SHOWN = ("teacher", "student", "student_debiased", "untrained_teacher", "untrained_student")

_NAMES: dict[str, str] = {
    **ROLE_NAMES,
    "untrained_teacher": "untrained, like the teacher",
    "untrained_student": "untrained, like the student",
}
_COLORS: dict[str, str] = {**ROLE_COLORS}
_SYMBOLS: dict[str, str] = {
    **ROLE_SYMBOLS,
    "untrained_teacher": "x-thin-open",
    "untrained_student": "cross-thin-open",
}
_DASHES: dict[str, Dash] = {
    "student_debiased": "dash",
    "untrained_teacher": "dot",
    "untrained_student": "dot",
}

_TWIN_DASHES: dict[str, Dash] = {"twins of the student": "dash"}


def readability_figure(result: Mapping[str, object], question: Question) -> go.Figure:
    """Held-out accuracy of the probes for one question, in percent; 50 is chance."""
    rows = [row for row in listing(result, "stages") if question in row]
    n = max((estimate(row, question).n for row in rows), default=0)
    figure = base_figure(
        _capital(QUESTIONS[question]),
        f"readability by weak linear probes, held-out; n = {n:,} quads",
        height=380,
        x="relative depth of the stage",
        y="accuracy (%)",
    )
    for model, name in _twins(rows).items():
        _add_twin(figure, [row for row in rows if row.get("model") == model], question, name)
    for model in SHOWN:
        points = [row for row in rows if row.get("model") == model]
        found = [estimate(row, question) for row in points]
        if not any(each.value is not None for each in found):
            continue
        color, symbol = _COLORS.get(model, GREY), _SYMBOLS[model]
        figure.add_scatter(
            x=[row["depth"] for row in points],
            y=[scaled(each, PERCENT) for each in found],
            error_y=error_bar(found, PERCENT),
            mode="lines+markers",
            name=_NAMES[model],
            line={"color": color, "dash": _DASHES.get(model, "solid"), "width": 2},
            marker={"symbol": symbol, "size": 9, "color": color},
            customdata=[
                [row["stage"], hover(each, PERCENT)]
                for row, each in zip(points, found, strict=True)
            ],
            hovertemplate=f"{_NAMES[model]} %{{customdata[0]}}: %{{customdata[1]}}<extra></extra>",
        )
    figure.add_hline(y=50, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(range=[-0.03, 1.03], dtick=0.25)
    figure.update_yaxes(range=[30, 103])
    return figure


def _twins(rows: list[Json]) -> dict[str, str]:
    """Seed twins that were read, and what they are twins of."""
    models = dict.fromkeys(str(row.get("model")) for row in rows)
    return {
        model: f"twins of the {model.partition('_twin_')[0]}"
        for model in models
        if "_twin_" in model
    }


def _add_twin(figure: go.Figure, points: list[Json], question: Question, group: str) -> None:
    """A thin grey line: what another seed of the same recipe gives; one entry for all of a role."""
    found = [estimate(row, question) for row in points]
    if not any(each.value is not None for each in found):
        return
    known: tuple[Any, ...] = figure.data  # pyright: ignore[reportAssignmentType]
    figure.add_scatter(
        x=[row["depth"] for row in points],
        y=[scaled(each, PERCENT) for each in found],
        mode="lines",
        name=group,
        legendgroup=group,
        showlegend=group not in {trace.name for trace in known},
        line={"color": GREY, "width": 1, "dash": _TWIN_DASHES.get(group, "solid")},
        customdata=[
            [model_name(str(row["model"])), row["stage"], hover(each, PERCENT)]
            for row, each in zip(points, found, strict=True)
        ],
        hovertemplate="%{customdata[0]} %{customdata[1]}: %{customdata[2]}<extra></extra>",
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def questions(result: Mapping[str, object]) -> tuple[Question, ...]:
    """What was asked of the stages of teacher or student, and answered."""
    rows = [row for row in listing(result, "stages") if row.get("model") in ("teacher", "student")]
    return tuple(
        question
        for question in QUESTIONS
        if any(estimate(row, question).value is not None for row in rows)
    )
