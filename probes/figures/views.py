"""One example: its attention head by head in both models, and maps over its images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from behavior.examples import CELLS
from probes.compare.attending import ExampleView
from probes.compare.looking import ImageMaps
from probes.figures.panels import panels, place_of
from probes.figures.style import CELL_LABELS
from probes.maps import NodeMaps

_SHADES = "Viridis"
_MOST_ROWS, _MOST_NODES = 6, 8


def example_figure(view: ExampleView) -> go.Figure:
    """Attention from word to word in one example; a menu chooses the head of either model."""
    roles = list(view.tables)
    figure = panels(
        roles,
        2,
        title="One example, head by head",
        note=view.text,
        height=430,
        gap=0.16,
    )
    first: dict[str, int] = {}
    for number, role in enumerate(roles):
        first[role] = len(figure.data)  # pyright: ignore[reportArgumentType]
        for place, (head, table) in enumerate(view.tables[role].items()):
            trace = _pattern(role, head, table, view.words, visible=place == 0)
            figure.add_trace(trace, 1, number + 1)
    menus = [
        {
            "buttons": _buttons(first[role], list(view.tables[role])),
            "x": 0.0 if number == 0 else 0.58,
            "xanchor": "left",
            "y": 1.09,
            "yanchor": "bottom",
        }
        for number, role in enumerate(roles)
    ]
    figure.update_layout(updatemenus=menus, margin={"t": 170, "l": 110}, height=700)
    figure.update_xaxes(title="attended to", tickangle=-60, showgrid=False, type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    figure.update_yaxes(title="attends", col=1)
    return figure


def rollout_figure(maps: ImageMaps) -> go.Figure:
    """The four cells of a quad, and the attention rollout of both models over their patches."""
    titles = [CELL_LABELS[cell] for cell in CELLS]
    titles += [f"{role} {cell}" for role in maps.rollout for cell in CELLS]
    figure = panels(
        titles,
        4,
        title="Attention rollout of the first token",
        note="share of the rollout that falls on each patch; one quad; yellow is the largest of a "
        "model; hover for numbers",
        height=190,
        square=True,
        gap=0.03,
    )
    for number in range(4):
        row, column = place_of(number, 4)
        figure.add_trace(_image(maps.pixels[number]), row, column)
    for place, (role, rollout) in enumerate(maps.rollout.items()):
        for number, cell in enumerate(CELLS):
            row, column = place_of(4 * (place + 1) + number, 4)
            trace = _map(rollout[number], float(rollout.max()), f"{role} {cell}")
            figure.add_trace(trace, row, column)
    return figure


def node_maps_figure(maps: ImageMaps, role: str) -> go.Figure:
    """Maps of each head or group on the conflicting image C; at most six rows of eight."""
    every = maps.nodes[role]
    kept = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, _MOST_ROWS).astype(int))]
    n = min(_MOST_NODES, max(len(each.nodes) for each in kept))
    titles = [name for each in kept for name in _padded(each.nodes, n)]
    what = "the first token's attention to the patches" if maps.rollout else "what a group writes"
    figure = panels(
        titles,
        n,
        title=f"{role}: {what}, on cell C",
        note=("share of attention" if maps.rollout else "norm of what is added to the stream")
        + "; yellow is the largest of a row; hover for numbers",
        height=120,
        square=True,
        gap=0.02,
    )
    for i, each in enumerate(kept):
        _add_row(figure, i, each, n)
    return figure


def _add_row(figure: go.Figure, i: int, each: NodeMaps, n: int) -> None:
    of_cell = each.maps[CELLS.index("C")]
    end = float(of_cell.max())
    for j, name in enumerate(each.nodes[:n]):
        figure.add_trace(_map(of_cell[j], end, name), i + 1, j + 1)


def _padded(names: Sequence[str], n: int) -> list[str]:
    return [*names[:n], *[""] * (n - len(names))]


def _pattern(
    role: str,
    head: str,
    table: Float[np.ndarray, "target source"],
    words: Sequence[str],
    *,
    visible: bool,
) -> go.Heatmap:
    targets = words[: len(table)] if len(table) == len(words) - 1 else ["answer"]
    return go.Heatmap(
        z=np.round(table.astype(np.float64), 4).tolist(),
        x=list(words),
        y=list(targets),
        zmin=0,
        zmax=1,
        colorscale=_SHADES,
        showscale=False,
        visible=visible,
        name=f"{role} {head}",
        hovertemplate=f"{role} {head}: %{{y}} attends to %{{x}} with %{{z:.3f}}<extra></extra>",
    )


def _buttons(first: int, heads: Sequence[str]) -> list[dict[str, Any]]:
    places = list(range(first, first + len(heads)))
    return [
        {
            "label": head,
            "method": "restyle",
            "args": [{"visible": [at == number for at in range(len(heads))]}, places],
        }
        for number, head in enumerate(heads)
    ]


def _image(pixels: Float[np.ndarray, "height width 3"]) -> go.Image:
    return go.Image(z=np.round(pixels * 255).astype(int).tolist(), hoverinfo="skip")


def _map(values: Float[np.ndarray, "rows columns"], end: float, name: str) -> go.Heatmap:
    return go.Heatmap(
        z=np.round(values.astype(np.float64), 5).tolist(),
        zmin=0,
        zmax=end or 1.0,
        colorscale=_SHADES,
        showscale=False,
        name=name,
        hovertemplate=f"{name}: row %{{y}}, column %{{x}}: %{{z:.3f}}<extra></extra>",
    )
