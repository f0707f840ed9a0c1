"""What interventions restore, beside their controls."""

from collections.abc import Mapping
from typing import cast

import plotly.graph_objects as go

from behavior.estimates import Estimate
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


def restored_figure(result: Mapping[str, object]) -> go.Figure:
    """Share of the loss that each intervention restores; controls are grey."""
    rows = restored_rows(result)
    n = max((own.n for _, own, _ in rows), default=0)
    figure = base_figure(
        "Share of the loss that comes back",
        f"net of the cost on A and L; controls grey; n = {n:,} quads that test",
        height=130 + 34 * len(rows),
        x="restored (% of the loss on C and N)",
        y="",
    )
    names = [name for name, _, _ in rows]
    controls = [(name, value) for name, _, others in rows for value in others.values()]
    labels = [control for _, _, others in rows for control in others]
    figure.add_scatter(
        x=[PERCENT * value for _, value in controls],
        y=[name for name, _ in controls],
        mode="markers",
        name="control",
        marker={"symbol": "line-ns-open", "size": 11, "color": GREY},
        customdata=labels,
        hovertemplate="%{y}, %{customdata}: %{x:.1f}<extra></extra>",
    )
    estimates = [own for _, own, _ in rows]
    figure.add_scatter(
        x=[scaled(own, PERCENT) for own in estimates],
        y=names,
        error_x=error_bar(estimates, PERCENT),
        mode="markers",
        name="intervention",
        marker={"symbol": "diamond", "size": 10, "color": ROLE_COLORS["student"]},
        customdata=[hover(own, PERCENT) for own in estimates],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )
    lowest = min([PERCENT * value for _, value in controls], default=0.0)
    figure.update_xaxes(range=[max(min(-20.0, lowest - 5), -150.0), 110], zeroline=True)
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    return figure


def restored_rows(
    result: Mapping[str, object],
) -> list[tuple[str, Estimate, dict[str, float]]]:
    """Removal first, then the nodes whose transplant restores most: name, share, controls."""
    found: list[tuple[str, Estimate, dict[str, float]]] = []
    removal = branch(result, "tests", "removal")
    if estimate(removal, "restored").value is not None:
        heads = ", ".join(cast("list[str]", removal["heads"]))
        others = cast("list[float]", removal["controls"])
        found.append(
            (
                f"without {heads}",
                estimate(removal, "restored"),
                {f"random set {i + 1}": value for i, value in enumerate(others)},
            )
        )
    nodes = [
        node
        for node in listing(result, "tests", "transplant", "nodes")
        if estimate(node, "restored").value is not None
    ]
    nodes.sort(key=lambda node: -(estimate(node, "restored").value or 0.0))
    found += [
        (
            f"{node['teacher']} into {node['student']}",
            estimate(node, "restored"),
            cast("dict[str, float]", cast(Json, node["controls"])),
        )
        for node in nodes[:MOST_ROWS]
    ]
    return found
