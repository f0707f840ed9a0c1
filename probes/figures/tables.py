"""Two models against each other as tables of colour: stages, and heads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from behavior.estimates import Estimate
from probes.compare.attending import AttentionFindings, HeadPair
from probes.compare.measuring import StageFindings
from probes.figures.panels import Place, add_curve, panels
from probes.figures.style import PAIR_COLORS, PAIR_SYMBOLS, hover
from probes.similarity import StageSimilarity

_SHADES, _DIVERGING = "Viridis", "RdBu_r"
_MOST_TEXTS = 500
"""Cells of a table up to which each shows its number; beyond it the title gives the ends."""


def similarity_figure(
    similarity: Sequence[StageSimilarity],
    stages: Mapping[str, Sequence[StageFindings]],
    floor: Sequence[StageSimilarity] | None = None,
) -> go.Figure:
    """CKA of every two stages: on aligned and conflicting inputs, and their difference."""
    ours, theirs = ([each.point.name for each in stages[r]] for r in ("teacher", "student"))
    titles = ["aligned", "conflicting", "aligned less conflicting"]
    titles += [] if floor is None else ["student and its twin, conflicting"]
    n = max(each.aligned.n for each in similarity)
    figure = panels(
        titles,
        len(titles),
        title="Similarity of representations, stage by stage",
        note=f"unbiased linear CKA of the mean stream, 1 is the same up to rotation; n = {n:,} "
        "quads; dark 0 to yellow 1; hover for intervals",
        height=360,
        gap=0.09,
    )
    table: dict[str, Callable[[StageSimilarity], Estimate]] = {
        "aligned": lambda each: each.aligned,
        "conflicting": lambda each: each.conflicting,
        "difference": lambda each: each.difference,
    }
    for number, (name, of) in enumerate(table.items()):
        cells = {(each.first, each.second): of(each) for each in similarity}
        _add_table(figure, (1, number + 1), ours, theirs, cells, centred=name == "difference")
    if floor is not None:
        cells = {(each.first, each.second): each.conflicting for each in floor}
        names = [str(i) for i in range(1 + max(each.second for each in floor))]
        names = theirs if len(names) == len(theirs) else names
        _add_table(figure, (1, 4), theirs, names, cells, centred=False)
    figure.update_xaxes(title="stage of the student")
    figure.update_yaxes(title="stage of the teacher", col=1)
    return figure


def distance_figure(found: AttentionFindings) -> go.Figure:
    """Distance of every two heads, and how much larger it is on conflicting inputs."""
    ours = list(dict.fromkeys(each.teacher for each in found.pairs))
    theirs = list(dict.fromkeys(each.student for each in found.pairs))
    figure = panels(
        ["aligned", "conflicting", "conflicting less aligned"],
        3,
        title="Distance of attention patterns, head by head",
        note="Jensen-Shannon divergence between words, in bits: 0 alike, 1 never the same word; "
        f"n = {found.n_quads:,} quads; nearest heads are no counterparts",
        height=max(330, 26 * len(ours)),
    )
    table: dict[str, Callable[[HeadPair], Estimate]] = {
        "aligned": lambda each: each.aligned,
        "conflicting": lambda each: each.conflicting,
        "difference": lambda each: each.difference,
    }
    for number, (name, of) in enumerate(table.items()):
        cells = {(ours.index(p.teacher), theirs.index(p.student)): of(p) for p in found.pairs}
        _add_table(figure, (1, number + 1), ours, theirs, cells, centred=name == "difference")
    figure.update_xaxes(title="head of the student")
    figure.update_yaxes(title="head of the teacher", col=1)
    return figure


def overlap_figure(found: AttentionFindings) -> go.Figure:
    """Attention to overlapping words beyond an even spread, head by head."""
    figure = panels(
        ["teacher", "student"],
        2,
        title="Attention to words that premise and hypothesis share",
        note="share of attention beyond an even spread over words, in points; "
        f"n = {found.n_quads:,} quads",
        height=320,
    )
    for number, model in enumerate(("teacher", "student")):
        heads = [each for each in found.overlaps if each.model == model]
        points = [(each.head, float(i)) for i, each in enumerate(heads)]
        for name, symbol, estimates in (
            ("A and C: words repeated", "", [each.high for each in heads]),
            ("N and L: synonyms", "-open", [each.low for each in heads]),
        ):
            add_curve(
                figure,
                (1, number + 1),
                points,
                estimates,
                name=f"{model}, {name}",
                color=PAIR_COLORS[model],
                symbol=PAIR_SYMBOLS[model] + symbol,
                scale=100.0,
                digits=1,
            )
        figure.update_xaxes(
            tickvals=list(range(len(heads))), ticktext=[each.head for each in heads],
            row=1, col=number + 1,
        )  # fmt: skip
    figure.update_traces(mode="markers")
    figure.update_xaxes(title="head", tickangle=-60)
    figure.update_layout(height=500, margin={"b": 140}, legend={"y": -0.34})
    figure.update_yaxes(matches="y", col=2)
    figure.update_yaxes(title="attention beyond even (points)", col=1)
    return figure


def _add_table(
    figure: go.Figure,
    place: Place,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[int, int], Estimate],
    *,
    centred: bool,
) -> None:
    values = np.full((len(rows), len(columns)), np.nan)
    text = [[""] * len(columns) for _ in rows]
    for (i, j), each in cells.items():
        values[i, j] = np.nan if each.value is None else each.value
        text[i][j] = f"{rows[i]} and {columns[j]}: {hover(each, digits=2)}"
    end = max(0.05, float(np.nanmax(np.abs(values), initial=0)))
    colours: dict[str, Any] = {"colorscale": _SHADES, "zmin": 0, "zmax": 1}
    if centred:
        colours = {"colorscale": _DIVERGING, "zmid": 0, "zmin": -end, "zmax": end}
    shown = [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in values]
    figure.add_heatmap(
        z=shown,
        x=list(columns),
        y=list(rows),
        text=text,
        texttemplate="%{z:.2f}" if values.size <= _MOST_TEXTS else None,
        textfont={"size": 10},
        hovertemplate="%{text}<extra></extra>",
        showscale=False,
        xgap=1,
        ygap=1,
        row=place[0],
        col=place[1],
        **colours,
    )
    figure.update_xaxes(type="category", showgrid=False, row=place[0], col=place[1])
    figure.update_yaxes(type="category", showgrid=False, row=place[0], col=place[1])
