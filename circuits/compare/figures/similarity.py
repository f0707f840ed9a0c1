"""Every stage of the teacher against every stage of the student, as a table of similarity."""

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import plotly.graph_objects as go

from behavior.errors import DataError
from behavior.estimates import Estimate
from circuits.compare.figures.style import FONT, INK, hover, style_axes
from circuits.compare.reading import estimate, listing
from circuits.compare.storage import Json

Part = Literal["aligned", "conflicting", "difference"]

PARTS: tuple[Part, ...] = get_args(Part)
PART_TITLES: dict[Part, str] = {
    "aligned": "Aligned examples (A, L)",
    "conflicting": "Conflicting examples (N, C)",
    "difference": "Aligned less conflicting",
}
_COLOURS = "RdBu_r"
_MOST_TEXTS = 120
"""Cells up to which each shows its number."""


def similarity_figure(result: Mapping[str, object], part: Part = "conflicting") -> go.Figure:
    """CKA stage by stage, from -1 to 1 on one scale; the first stages are below and on the left.

    Raises:
        DataError: If the result holds no similarity.
    """
    found = stage_pairs(result, part)
    if not found:
        raise DataError(
            "This result holds no similarity of stages: it was made by an earlier version, or its "
            "data hold no quads. Run the comparison again on quads."
        )
    ours, theirs = (list(dict.fromkeys(names)) for names in zip(*found, strict=True))
    rows = [[found[one, other] for other in theirs] for one in ours]
    figure = go.Figure(
        go.Heatmap(
            z=[[each.value for each in row] for row in rows],
            x=theirs,
            y=ours,
            zmin=-1,
            zmax=1,
            zmid=0,
            colorscale=_COLOURS,
            showscale=False,
            xgap=1,
            ygap=1,
            text=[
                [f"{one} and {other}: {hover(found[one, other], digits=2)}" for other in theirs]
                for one in ours
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    if len(found) <= _MOST_TEXTS:
        _write_numbers(figure, found)
    _lay_out(figure, part, max(each.n for each in found.values()), len(ours))
    return figure


def similarity_height(result: Mapping[str, object]) -> int:
    """Height of a table, in pixels."""
    return _height(len({teacher for teacher, _ in stage_pairs(result, "aligned")}))


def stage_pairs(result: Mapping[str, object], part: Part) -> dict[tuple[str, str], Estimate]:
    """By the stages of teacher and student, in their order; empty if nothing is known."""
    rows: list[Json] = listing(result, "similarity", "pairs")
    found = {(str(row["teacher"]), str(row["student"])): estimate(row, part) for row in rows}
    return found if any(each.value is not None for each in found.values()) else {}


def similar_parts(result: Mapping[str, object]) -> tuple[Part, ...]:
    """What the stages were compared on."""
    return tuple(part for part in PARTS if stage_pairs(result, part))


def _write_numbers(figure: go.Figure, found: Mapping[tuple[str, str], Estimate]) -> None:
    """As points of text, which take the color of the page where a cell is pale."""
    strong = {key: abs(each.value or 0.0) > 0.6 for key, each in found.items()}
    for name, color, wanted in (("numbers", INK, False), ("numbers on color", "#ffffff", True)):
        kept = [key for key in found if strong[key] == wanted and found[key].value is not None]
        figure.add_scatter(
            x=[student for _, student in kept],
            y=[teacher for teacher, _ in kept],
            mode="text",
            text=[_short(cast(float, found[key].value)) for key in kept],
            textfont={"size": 11, "color": color} if wanted else {"size": 11},
            hoverinfo="skip",
            showlegend=False,
            name=name,
        )


def _short(value: float) -> str:
    text = f"{value:.2f}".replace("-0.00", "0.00").replace("0.", ".")
    return text.replace("-", "\u2212")


def _height(n_rows: int) -> int:
    return 120 + max(150, min(30 * n_rows, 480))


def _lay_out(figure: go.Figure, part: Part, n: int, n_rows: int) -> None:
    style_axes(figure)
    axis: dict[str, Any] = {"type": "category", "showgrid": False, "zeroline": False}
    figure.update_layout(
        template="none",
        title={
            "text": f"{PART_TITLES[part]}<br><sup>CKA, 1 is the same up to rotation; n = {n:,}"
            " quads</sup>",
            "x": 0,
            "xref": "container",
            "pad": {"l": 8},
            "font": {"size": 15},
        },
        font={"family": FONT, "size": 13, "color": INK},
        height=_height(n_rows),
        margin={"l": 72, "r": 10, "t": 62, "b": 58},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
    )
    figure.update_xaxes(**axis, title={"text": "stage of the student", "standoff": 8})
    figure.update_yaxes(**axis, title={"text": "stage of the teacher", "standoff": 8})
