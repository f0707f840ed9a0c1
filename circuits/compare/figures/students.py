"""Losses of several students of one teacher, one row a student."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.figures.style import (
    CELL_COLORS,
    CELL_SYMBOLS,
    INK,
    base_figure,
    error_bar,
    hover,
    scaled,
)

KINDS: tuple[tuple[str, str, str, str, float], ...] = (
    ("N", "loss on N", CELL_COLORS["N"], CELL_SYMBOLS["N"], -0.16),
    ("C", "loss on C", CELL_COLORS["C"], CELL_SYMBOLS["C"], 0.0),
    ("mean", "mean loss", INK, "cross", 0.16),
)


def students_figure(losses: Mapping[str, Mapping[str, Estimate]], teacher: str) -> go.Figure:
    """What each student lost against the teacher, in probability, with 95 % intervals.

    Args:
        losses: By student, from top to bottom: `N`, `C` and `mean`.
        teacher: Its name.
    """
    names = list(losses)
    n = max((each["mean"].n for each in losses.values()), default=0)
    figure = base_figure(
        f"What each student of {teacher} lost",
        f"teacher minus student, 0 is as good as the teacher; 95 % intervals; n = {n:,} quads",
        height=160 + 58 * len(names),
        x="loss (probability of the right answer)",
        y="",
    )
    for key, name, color, symbol, offset in KINDS:
        found = [losses[student][key] for student in names]
        figure.add_scatter(
            x=[scaled(each) for each in found],
            y=[row + offset for row in range(len(names))],
            error_x=error_bar(found),
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": color},
            customdata=[
                [who, hover(each, digits=2)] for who, each in zip(names, found, strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}}, {name}: %{{customdata[1]}}<extra></extra>",
        )
    _name_rows(figure, names)
    return figure


def _name_rows(figure: go.Figure, names: Sequence[str]) -> None:
    figure.update_xaxes(range=[-0.12, 1.02], dtick=0.2)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        ticks="",
    )
