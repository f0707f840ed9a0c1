"""What interventions restore, beside their controls."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.estimates import Estimate
from circuits.compare.config import Role
from circuits.compare.figures.style import (
    GREY,
    PERCENT,
    ROLE_COLORS,
    base_figure,
    error_bar,
    hover,
    scaled,
)
from circuits.compare.reading import branch, estimate, listing
from circuits.compare.storage import Json

MOST_ROWS = 12


def restored_height(result: Mapping[str, object]) -> int:
    """Pixels, by the number of interventions."""
    return 150 + 46 * len(restored_rows(result))


def restored_figure(result: Mapping[str, object]) -> go.Figure:
    """Share of the loss that each intervention restores; controls are grey."""
    rows = restored_rows(result)
    figure = _rows_figure(
        result, "Share of the loss that comes back", "restored (% of the loss on C and N)"
    )
    controls = [
        (place, PERCENT * value, label)
        for place, (_, _, others) in enumerate(rows)
        for label, value in others.items()
    ]
    figure.add_scatter(
        x=[value for _, value, _ in controls],
        y=[place for place, _, _ in controls],
        mode="markers",
        name="control",
        marker={"symbol": "line-ns-open", "size": 11, "color": GREY},
        customdata=[label for _, _, label in controls],
        hovertemplate="%{customdata}: %{x:.1f}<extra></extra>",
    )
    _add_dots(figure, [(name, own) for name, own, _ in rows], "intervention", "diamond", "student")
    lowest = min([value for _, value, _ in controls], default=0.0)
    figure.update_xaxes(range=[max(min(-20.0, lowest - 5), -150.0), 110], zeroline=True)
    return figure


def cost_figure(result: Mapping[str, object]) -> go.Figure:
    """What each intervention gains on C and N and costs on A and L, in probability."""
    figure = _rows_figure(result, "Gain and cost", "probability of the right answer (%)")
    stored = _interventions(result)
    gains, costs = (
        [(name, estimate(node, key)) for name, node in stored] for key in ("gain", "cost")
    )
    _add_dots(figure, gains, "gain on C and N", "diamond", "student", -0.04)
    _add_dots(figure, costs, "cost on A and L", "square-open", "teacher_plain", 0.2)
    figure.update_xaxes(zeroline=True, rangemode="tozero")
    return figure


def _rows_figure(result: Mapping[str, object], title: str, x: str) -> go.Figure:
    """An empty figure with a row for each intervention, whose name stands above it."""
    rows = restored_rows(result)
    n = max((own.n for _, own, _ in rows), default=0)
    figure = base_figure(
        title, f"n = {n:,} quads that test", height=restored_height(result), x=x, y=""
    )
    for place, (name, _, _) in enumerate(rows):
        figure.add_annotation(
            text=f"<b>{name}</b>",
            x=0,
            xref="paper",
            y=place - 0.36,
            showarrow=False,
            xanchor="left",
            font={"size": 12},
        )
    figure.update_yaxes(
        range=[len(rows) - 0.5, -0.75], showticklabels=False, zeroline=False, ticks="", dtick=1
    )
    figure.update_layout(margin={"l": 12})
    return figure


def _add_dots(
    figure: go.Figure,
    rows: list[tuple[str, Estimate]],
    name: str,
    symbol: str,
    role: Role,
    shift: float = 0.0,
) -> None:
    estimates = [own for _, own in rows]
    figure.add_scatter(
        x=[scaled(own, PERCENT) for own in estimates],
        y=[place + shift for place in range(len(rows))],
        error_x=error_bar(estimates, PERCENT),
        mode="markers",
        name=name,
        marker={"symbol": symbol, "size": 10, "color": ROLE_COLORS[role]},
        customdata=[[label, hover(own, PERCENT)] for label, own in rows],
        hovertemplate=f"%{{customdata[0]}}: {name} %{{customdata[1]}}<extra></extra>",
    )


def restored_rows(
    result: Mapping[str, object],
) -> list[tuple[str, Estimate, dict[str, float]]]:
    """Removal first, then the nodes whose transplant restores most: name, share, controls."""
    return [
        (name, estimate(stored, "restored"), _controls(stored))
        for name, stored in _interventions(result)
    ]


def _interventions(result: Mapping[str, object]) -> list[tuple[str, Json]]:
    removal = branch(result, "tests", "removal")
    found: list[tuple[str, Json]] = []
    if estimate(removal, "restored").value is not None:
        found.append((_without(cast("list[str]", removal["heads"])), removal))
    nodes = [
        node
        for node in listing(result, "tests", "transplant", "nodes")
        if estimate(node, "restored").value is not None
    ]
    nodes.sort(key=lambda node: -(estimate(node, "restored").value or 0.0))
    return found + [
        (f"{node['teacher']} into {node['student']}", node) for node in nodes[:MOST_ROWS]
    ]


def _without(heads: list[str]) -> str:
    """Short enough for a phone."""
    more = f" and {len(heads) - 2} more" if len(heads) > 2 else ""
    return f"without {', '.join(heads[:2])}{more}"


def _controls(stored: Json) -> dict[str, float]:
    """Random sets of heads by number, donors of other kinds by name."""
    found = stored["controls"]
    if isinstance(found, list):
        values = cast("list[float]", found)
        return {f"random set {i + 1}": value for i, value in enumerate(values)}
    return cast("dict[str, float]", found)
