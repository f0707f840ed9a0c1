"""Whether heads can be matched at all: the own pair beside its nulls, and the links."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.figures.style import (
    CARRIES,
    GREY,
    ROLE_COLORS,
    base_figure,
    error_bar,
    hover,
)
from circuits.compare.reading import branch, estimate, listing, matched, text
from circuits.compare.storage import Json

OWN = "teacher and student"


def nulls_height(result: Mapping[str, object]) -> int:
    """Pixels, by the number of nulls."""
    return 150 + 26 * (1 + len(null_matches(result)))


def null_matches(result: Mapping[str, object]) -> dict[str, Estimate]:
    """Match of each null, by name; empty where the question was not asked."""
    nulls = branch(result, "alignment", "null", "nulls")
    return {name: estimate(nulls, name) for name in nulls}


def nulls_figure(result: Mapping[str, object]) -> go.Figure:
    """Similarity of best matches: the own pair, and pairs in which nothing can correspond."""
    own, nulls = estimate(result, "alignment", "null", "own"), null_matches(result)
    figure = base_figure(
        "Best matches of heads, and of nulls",
        f"nulls: untrained nets, twins; n = {own.n:,} quads",
        height=nulls_height(result),
        x="similarity",
        y="",
    )
    for name, found, color, symbol in (
        ("null", nulls, GREY, "circle-open"),
        ("own pair", {OWN: own}, ROLE_COLORS["student"], "diamond"),
    ):
        figure.add_scatter(
            x=[each.value for each in found.values()],
            y=list(found),
            error_x=error_bar(list(found.values())),
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 10, "color": color},
            customdata=[hover(each, digits=3) for each in found.values()],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    figure.update_xaxes(zeroline=True)
    figure.update_yaxes(categoryorder="array", categoryarray=[*list(nulls)[::-1], OWN])
    return figure


def alignment_figure(result: Mapping[str, object]) -> go.Figure:
    """Matched heads, teacher up and student across; without matches the sentence that says why."""
    links = listing(result, "alignment", "links")
    reason = text(result, "alignment", "reason") or "Heads were not compared."
    if not matched(result) or not links:
        return _sentence(reason)
    teacher, student = (_heads(result, role) for role in ("teacher", "student"))
    figure = base_figure(
        "Matched heads",
        f"{len(links)} links; no square: not matched",
        height=160 + max(160, 20 * len(teacher)),
        x="head of the student",
        y="head of the teacher",
    )
    figure.add_scatter(
        x=[link["student"] for link in links],
        y=[link["teacher"] for link in links],
        mode="markers",
        name="link",
        marker={
            "symbol": "square",
            "size": 13,
            "color": [cast(float, link["similarity"]) for link in links],
            "colorscale": [[0, "rgba(178,24,43,0.15)"], [1, CARRIES]],
            "cmin": 0,
            "cmax": 1,
            "colorbar": {"title": {"text": "similarity"}, "thickness": 12},
        },
        customdata=[[link["relation"], f"{link['similarity']:.2f}"] for link in links],
        hovertemplate="%{y} of the teacher, %{x} of the student: %{customdata[1]}, "
        "%{customdata[0]}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=student)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=teacher)
    return figure


def _heads(result: Mapping[str, object], role: str) -> list[str]:
    linked = [str(link[role]) for link in listing(result, "alignment", "links")]
    alone = branch(result, "alignment", "unmatched").get(role)
    return sorted({*linked, *(cast("list[str]", alone) if isinstance(alone, list) else [])})


def _sentence(words: str) -> go.Figure:
    """A figure that is text alone."""
    figure = base_figure("Matched heads", "none", height=220, x="", y="")
    figure.add_annotation(
        text="<br>".join(_wrapped(words)),
        x=0,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        align="left",
        showarrow=False,
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _wrapped(words: str, width: int = 70) -> list[str]:
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def best_null(result: Mapping[str, object]) -> tuple[str, Estimate] | None:
    """The null that comes nearest to a match."""
    nulls: Json | dict[str, Estimate] = null_matches(result)
    known = {name: found for name, found in nulls.items() if found.value is not None}
    return max(known.items(), key=lambda item: item[1].value or 0.0) if known else None
