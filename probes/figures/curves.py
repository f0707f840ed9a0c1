"""Curves by depth: what is readable, against control tasks, and what the classifier would say."""

from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from behavior.estimates import Estimate
from behavior.examples import CELLS
from probes.compare.measuring import CONTROLS, StageFindings
from probes.figures.panels import add_curve, by_depth, panels, place_of
from probes.figures.style import (
    CELL_COLORS,
    CELL_LABELS,
    CELL_SYMBOLS,
    GREY,
    PAIR_COLORS,
    PAIR_SYMBOLS,
    PERCENT,
    Dash,
)
from probes.linear import Question
from probes.selectivity import Control

Stages = Mapping[str, Sequence[StageFindings]]

QUESTIONS: dict[Question, str] = {
    "core_NL": "core without the shortcut (N, L)",
    "core_AC": "core beside the shortcut (A, C)",
    "transfer": "core learned on A, C, asked on N, L",
    "shortcut": "shortcut (A, N, C, L)",
}
_KINDS: tuple[tuple[str, Dash, str], ...] = (
    ("accuracy", "solid", ""),
    ("control", "dot", "-open"),
)
CONTROL_TITLES: dict[Control, str] = {
    "core_quad": "core: types are quads",
    "shortcut_quad": "shortcut: types are quads",
    "core_AC_word": "core (A, C): types are words",
    "core_NL_word": "core (N, L): types are words",
}


def decodability_figure(stages: Stages) -> go.Figure:
    """Held-out accuracy of weak probes for core and shortcut, in both models."""
    n = _count(each for found in stages.values() for one in found for each in _values(one))
    figure = panels(
        list(QUESTIONS.values()),
        2,
        title="What a weak linear probe reads at each stage",
        note=f"held-out accuracy in %, 50 is chance; 95 % intervals; n = {n:,} quads",
    )
    question: Question
    for number, question in enumerate(QUESTIONS):
        place = place_of(number, 2)
        for role, found in stages.items():
            add_curve(
                figure,
                place,
                _points(found),
                [each.readability[question] for each in found],
                name=role,
                color=PAIR_COLORS[role],
                symbol=PAIR_SYMBOLS[role],
                scale=PERCENT,
                digits=1,
            )
    figure.add_hline(y=50, line={"color": GREY, "dash": "dash", "width": 1})
    by_depth(figure, 2, "accuracy (%)")
    figure.update_yaxes(range=[30, 103])
    return figure


def selectivity_figure(stages: Stages) -> go.Figure:
    """Accuracy on the task and on its control task; the gap between them is the selectivity."""
    shown: list[Control] = [each for each in CONTROLS if _measured(stages, each)]
    n = _count(
        each.selectivity[control].accuracy
        for control in shown
        for found in stages.values()
        for each in found
    )
    figure = panels(
        [CONTROL_TITLES[each] for each in shown],
        2,
        title="Task (solid) against control task with random labels (dotted)",
        note=f"accuracy in %; the gap is the selectivity; 95 % intervals; n = {n:,} quads",
    )
    for number, control in enumerate(shown):
        for role, found in stages.items():
            for name, dash, symbol in _KINDS:
                add_curve(
                    figure,
                    place_of(number, 2),
                    _points(found),
                    [getattr(each.selectivity[control], name) for each in found],
                    name=role if name == "accuracy" else f"{role}, control task",
                    color=PAIR_COLORS[role],
                    symbol=PAIR_SYMBOLS[role] + symbol,
                    scale=PERCENT,
                    dash=dash,
                    digits=1,
                )
    figure.add_hline(y=50, line={"color": GREY, "dash": "dash", "width": 1})
    by_depth(figure, -(-len(shown) // 2), "accuracy (%)")
    figure.update_yaxes(range=[30, 103])
    return figure


def lens_figure(stages: Stages) -> go.Figure:
    """Mean margin that the classifier gives on each stage's state, for the four cells."""
    n = _count(e for found in stages.values() for each in found for e in each.lens["tuned"])
    titles = [f"{role}, {lens}" for lens in ("raw", "tuned") for role in stages]
    figure = panels(
        titles,
        2,
        title="What the classifier would answer at each stage",
        note="mean margin of label against foil, in logits; the last stage is the model's own; "
        f"n = {n:,} quads",
    )
    for number, title in enumerate(titles):
        role, lens = title.split(", ")
        for i, cell in enumerate(CELLS):
            add_curve(
                figure,
                place_of(number, 2),
                _points(stages[role]),
                [each.lens["raw" if lens == "raw" else "tuned"][i] for each in stages[role]],
                name=CELL_LABELS[cell],
                color=CELL_COLORS[cell],
                symbol=CELL_SYMBOLS[cell],
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash", "width": 1})
    by_depth(figure, 2, "margin (logits)")
    return figure


def _points(found: Sequence[StageFindings]) -> list[tuple[str, float]]:
    return [(each.point.name, each.point.depth) for each in found]


def _values(found: StageFindings) -> list[Estimate]:
    return list(found.readability.values())


def _measured(stages: Stages, control: Control) -> bool:
    return any(
        each.selectivity[control].accuracy.value is not None
        for found in stages.values()
        for each in found
    )


def _count(estimates: Iterable[Estimate]) -> int:
    return max((each.n for each in estimates), default=0)
